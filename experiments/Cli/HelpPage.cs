using System.Reflection;
using CommandLine;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Help, made from the options themselves.</summary>
internal static class HelpPage
{
    public static void WriteOverview(TextWriter writer)
    {
        writer.WriteLine("resnet-nodes: memory-free training of deep residual networks, and the experiments of arXiv 2205.14612");
        writer.WriteLine();
        writer.WriteLine("usage: resnet-nodes VERB [options]");
        writer.WriteLine();
        foreach (var verb in Program.Verbs.Select(v => v.GetCustomAttribute<VerbAttribute>()!).Where(v => !v.Hidden))
        {
            writer.WriteLine($"  {verb.Name,-20}{verb.HelpText}");
        }

        writer.WriteLine($"  {"help VERB",-20}the options of a verb");
        writer.WriteLine($"  {"version",-20}the version");
    }

    public static void Write(TextWriter writer, Type verb)
    {
        var name = StrictArguments.NameOf(verb);
        var page = verb.GetCustomAttribute<PageAttribute>();
        writer.WriteLine($"resnet-nodes {name}: {verb.GetCustomAttribute<VerbAttribute>()!.HelpText}");
        writer.WriteLine(page?.Source);
        var defaults = DefaultsAttribute.Of(verb).ToDictionary(option => option.Split('=')[0], option => option.Split('=', 2)[1]);
        var sections = StrictArguments.OptionsOf(verb).GroupBy(pair => pair.Property.GetCustomAttribute<SectionAttribute>()?.Name ?? "options");
        foreach (var section in sections.OrderBy(section => section.Key is "output" ? 2 : section.Key is "run" ? 1 : 0))
        {
            writer.WriteLine();
            writer.WriteLine($"{section.Key}:");
            foreach (var (_, option) in section)
            {
                var head = (option.ShortName.Length > 0 ? $"-{option.ShortName}, " : "    ") + $"--{option.LongName}" + (option.MetaValue.Length > 0 ? $" {option.MetaValue}" : string.Empty);
                var tail = option.HelpText + ((defaults.GetValueOrDefault(option.LongName) ?? option.Default) is { } value ? $" [{value}]" : string.Empty);
                writer.WriteLine(head.Length < 34 ? $"  {head,-34}{tail}" : $"  {head}{Environment.NewLine}  {string.Empty,-34}{tail}");
            }
        }

        if (page is null)
        {
            return;
        }

        foreach (var (i, row) in (verb.GetCustomAttribute<JsonRowsAttribute>()?.Rows ?? []).Index())
        {
            writer.WriteLine();
            writer.WriteLine(i == 0 ? "rows of --json:" : "and:");
            writer.WriteLine($"  {string.Join(", ", Rows.Keys(row))}");
        }

        foreach (var (i, preset) in PresetAttribute.All(verb).Index())
        {
            if (i == 0)
            {
                writer.WriteLine();
                writer.WriteLine("presets:");
            }

            writer.WriteLine($"  {preset.Name,-8}{string.Join(' ', preset.Options.Select(option => "--" + option))}");
        }

        writer.WriteLine();
        writer.WriteLine("examples:");
        foreach (var example in page.Examples)
        {
            writer.WriteLine($"  {example}");
        }
    }
}
