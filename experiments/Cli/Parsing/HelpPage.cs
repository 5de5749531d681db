using System.Reflection;
using CommandLine;

namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>Help, made from the options themselves.</summary>
internal static class HelpPage
{
    private const int Column = 34;

    private static readonly string[] Sections = ["model", "method", "training", "data", "run", "output"];

    public static void WriteOverview(TextWriter writer, VerbTable verbs)
    {
        writer.WriteLine("resnet-nodes: memory-free training of deep residual networks, and the experiments of arXiv 2205.14612");
        writer.WriteLine();
        writer.WriteLine("usage: resnet-nodes VERB [options]");
        writer.WriteLine();
        foreach (var verb in verbs.Visible.Select(v => v.GetCustomAttribute<VerbAttribute>()!))
        {
            writer.WriteLine($"  {verb.Name,-20}{verb.HelpText}");
        }

        writer.WriteLine($"  {"help VERB",-20}the options of a verb");
        writer.WriteLine($"  {"version",-20}the version");
    }

    public static void Write(TextWriter writer, Verb verb)
    {
        var type = verb.GetType();
        writer.WriteLine($"resnet-nodes {verb.Name}: {type.GetCustomAttribute<VerbAttribute>()!.HelpText}");
        var page = type.GetCustomAttribute<PageAttribute>();
        writer.WriteLine(page?.Source);
        if (verb.WordsName is { } words)
        {
            writer.WriteLine();
            writer.WriteLine($"usage: resnet-nodes {verb.Name} [options] {words} ...");
        }

        foreach (var section in verb.Options.GroupBy(o => o.Section).OrderBy(s => Array.IndexOf(Sections, s.Key)))
        {
            writer.WriteLine();
            writer.WriteLine($"{section.Key}:");
            foreach (var option in section)
            {
                WriteOption(writer, option);
            }
        }

        if (page is null)
        {
            return;
        }

        foreach (var (i, row) in (type.GetCustomAttribute<JsonRowsAttribute>()?.Rows ?? []).Index())
        {
            writer.WriteLine();
            writer.WriteLine(i == 0 ? "rows of --json:" : "and:");
            writer.WriteLine($"  {string.Join(", ", Rows.Keys(row))}");
        }

        foreach (var (i, preset) in PresetAttribute.All(type).Index())
        {
            writer.Write(i == 0 ? $"{Environment.NewLine}presets:{Environment.NewLine}" : string.Empty);
            var what = preset.Summary ?? string.Join(' ', preset.Options.Select(option => "--" + option));
            writer.WriteLine($"  {preset.Name,-7} {what}");
        }

        writer.WriteLine();
        writer.WriteLine("examples:");
        foreach (var example in page.Examples)
        {
            writer.WriteLine($"  {example}");
        }
    }

    private static void WriteOption(TextWriter writer, VerbOption option)
    {
        var head = (option.ShortName.Length > 0 ? $"-{option.ShortName}, " : "    ") + $"--{option.Name}"
            + (option.MetaValue.Length > 0 ? $" {option.MetaValue}" : string.Empty);
        var tail = option.HelpText + (option.Default is { } value ? $" [{value}]" : string.Empty);
        writer.WriteLine(head.Length < Column
            ? $"  {head,-Column}{tail}"
            : $"  {head}{Environment.NewLine}  {string.Empty,-Column}{tail}");
    }
}
