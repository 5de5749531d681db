using System.Reflection;
using System.Text.Json;
using CommandLine;

namespace ResNetNodes.Experiments.Cli;

/// <summary>
/// Refuses what the parser lets by: stray words, options without their value, unknown names. Switches without a value get
/// "true", so that --flag, --flag=false and --flag false all say what they do.
/// </summary>
internal static class StrictArguments
{
    public static string NameOf(Type verb) => verb.GetCustomAttribute<VerbAttribute>()!.Name;

    public static IEnumerable<(PropertyInfo Property, OptionAttribute Option)> OptionsOf(Type verb) =>
        verb.GetProperties().Select(p => (p, p.GetCustomAttribute<OptionAttribute>())).Where(pair => pair.Item2 is not null).Select(pair => (pair.p, pair.Item2!));

    public static Type FindVerb(string word)
    {
        var names = Program.Verbs.Where(v => !v.GetCustomAttribute<VerbAttribute>()!.Hidden).Select(NameOf);
        return Program.Verbs.FirstOrDefault(v => NameOf(v) == word)
            ?? throw new UsageException($"'{word}' is no verb{Nearest.Hint(word, names)} (resnet-nodes --help lists them)");
    }

    /// <summary>The words, checked, each option with one value.</summary>
    public static List<string> Check(Type verb, IReadOnlyList<string> words)
    {
        var options = OptionsOf(verb).ToList();
        var result = new List<string>();
        var seen = new HashSet<string>();
        for (var i = 0; i < words.Count; i++)
        {
            var word = words[i];
            var split = word.StartsWith("--", StringComparison.Ordinal) ? word.IndexOf('=') : -1;
            var name = split < 0 ? word : word[..split];
            var (property, option) = options.FirstOrDefault(pair => name == "--" + pair.Option.LongName || (pair.Option.ShortName.Length > 0 && name == "-" + pair.Option.ShortName));
            if (option is null)
            {
                throw new UsageException(name.StartsWith('-')
                    ? $"{NameOf(verb)} has no option {name}{Nearest.Hint(name.TrimStart('-'), options.Select(pair => pair.Option.LongName))}"
                    : $"'{word}' belongs to no option of {NameOf(verb)}");
            }

            if (!seen.Add(option.LongName))
            {
                throw new UsageException($"--{option.LongName} is given twice");
            }

            var isSwitch = property.PropertyType == typeof(bool?);
            var next = i + 1 < words.Count ? words[i + 1] : null;
            string value;
            if (split >= 0)
            {
                value = word[(split + 1)..];
            }
            else if (next is not null && (isSwitch ? next is "true" or "false" : !next.StartsWith("--", StringComparison.Ordinal)))
            {
                value = next;
                i++;
            }
            else
            {
                value = isSwitch ? "true" : throw new UsageException($"--{option.LongName} needs a value: {option.HelpText}");
            }

            if (value.Length == 0 || (isSwitch && value is not ("true" or "false")))
            {
                throw new UsageException($"--{option.LongName} is '{value}', expected {(isSwitch ? "true or false" : "a value")}");
            }

            result.Add($"--{option.LongName}={value}");
        }

        return result;
    }

    /// <summary>The words, and what a --config file and then a --preset add to them.</summary>
    public static List<string> Complete(Type verb, IReadOnlyList<string> words)
    {
        var all = WithConfig(verb, Check(verb, words));
        IReadOnlyList<string> preset = ValueOf(all, "preset") is { } name ? PresetAttribute.Of(verb, name) : [];
        foreach (var option in preset.Concat(DefaultsAttribute.Of(verb)))
        {
            if (!Names(all, option.Split('=')[0]))
            {
                all.Add("--" + option);
            }
        }

        return all;
    }

    private static string? ValueOf(List<string> words, string name) =>
        words.FirstOrDefault(w => w.StartsWith($"--{name}=", StringComparison.Ordinal))?[(name.Length + 3)..];

    private static bool Names(List<string> words, string name) => ValueOf(words, name) is not null;

    private static List<string> WithConfig(Type verb, List<string> checkedWords)
    {
        var path = ValueOf(checkedWords, "config");
        if (path is null)
        {
            return checkedWords;
        }

        try
        {
            using var document = JsonDocument.Parse(File.ReadAllText(path));
            if (document.RootElement.GetProperty("verb").GetString() != NameOf(verb))
            {
                throw new UsageException($"{path}: is of the verb {document.RootElement.GetProperty("verb").GetString()}, not of {NameOf(verb)}");
            }

            // Where a run goes and how it is shown belongs to this command line, not to the one that is repeated.
            foreach (var option in document.RootElement.GetProperty("options").EnumerateObject())
            {
                if (!RunConfig.Presentation.Contains(option.Name) && option.Value.ValueKind == JsonValueKind.String && !Names(checkedWords, option.Name))
                {
                    checkedWords.Add($"--{option.Name}={option.Value.GetString()}");
                }
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new UsageException($"{path}: is no configuration of a run: {exception.Message}");
        }

        return checkedWords;
    }
}
