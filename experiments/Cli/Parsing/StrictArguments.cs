using System.Text.Json;

namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>
/// Refuses what the parser lets by: stray words, options without their value, unknown names. Switches without a value get
/// "true", so that --flag, --flag=false and --flag false all say what they do.
/// </summary>
internal static class StrictArguments
{
    // What .NET makes of bytes that are no text.
    private const char Unreadable = '\uFFFD';
    private const long MostBytesOfConfig = 1 << 20;

    /// <summary>
    /// The words, each option with one value, and what a --config file and then a --preset add to them.
    /// </summary>
    public static List<string> Complete(Verb verb, IReadOnlyList<string> words)
    {
        verb.GivenWords = Check(verb, words);
        var all = WithConfig(verb, [.. verb.GivenWords]);
        verb.PresetOptions = ValueOf(all, "preset") is { } name ? PresetAttribute.Of(verb.GetType(), name) : [];
        foreach (var option in verb.PresetOptions.Concat(DefaultsAttribute.Of(verb.GetType())))
        {
            if (ValueOf(all, option.Split('=')[0]) is null)
            {
                all.Add("--" + option);
            }
        }

        return all;
    }

    private static List<string> Check(Verb verb, IReadOnlyList<string> words)
    {
        var (result, free) = (new List<string>(), new List<string>());
        for (var i = 0; i < words.Count; i++)
        {
            var word = words[i];
            if (verb.WordsName is { } what && !word.StartsWith('-'))
            {
                free.Add(Readable(what, word.Length > 0 ? word : throw new UsageException($"{what} is '', expected a value")));
                continue;
            }

            var split = word.StartsWith("--", StringComparison.Ordinal) ? word.IndexOf('=') : -1;
            var option = Find(verb, split < 0 ? word : word[..split]);
            if (ValueOf(result, option.Name) is not null)
            {
                throw new UsageException($"--{option.Name} is given twice");
            }

            var next = i + 1 < words.Count ? words[i + 1] : null;
            string value;
            if (split >= 0)
            {
                value = word[(split + 1)..];
            }
            else if (next is not null && (option.IsSwitch ? next is "true" or "false" : !next.StartsWith("--", StringComparison.Ordinal)))
            {
                value = next;
                i++;
            }
            else
            {
                value = option.IsSwitch ? "true" : throw new UsageException($"--{option.Name} needs a value: {option.HelpText}");
            }

            if (value.Length == 0 || (option.IsSwitch && value is not ("true" or "false")))
            {
                throw new UsageException(
                    $"--{option.Name} is '{value}', expected {(option.IsSwitch ? "true or false" : "a value")}");
            }

            result.Add($"--{option.Name}={Readable("--" + option.Name, value)}");
        }

        verb.FreeWords = free;
        return result;
    }

    private static string Readable(string name, string value) =>
        value.FirstOrDefault(c => char.IsControl(c) || c == Unreadable) is var odd and not '\0'
            ? throw new UsageException(
                $"{name} holds "
                + (odd == Unreadable ? "bytes that are not UTF-8" : $"the control character U+{(int)odd:X4}")
                + "; take another name or value")
            : value;

    private static VerbOption Find(Verb verb, string name)
    {
        var option = verb.Options.FirstOrDefault(o => name == "--" + o.Name || (o.ShortName.Length > 0 && name == "-" + o.ShortName));
        return option ?? throw new UsageException(name.StartsWith('-')
            ? $"{verb.Name} has no option {name}{Suggestion.Hint(name.TrimStart('-'), verb.Options.Select(o => o.Name))}"
            : $"'{name}' belongs to no option of {verb.Name}");
    }

    private static string? ValueOf(List<string> words, string name) => VerbOption.ValueIn(words, "--" + name);

    private static List<string> WithConfig(Verb verb, List<string> words)
    {
        if (ValueOf(words, "config") is not { } path)
        {
            return words;
        }

        try
        {
            using var document = JsonDocument.Parse(RegularFile.ReadAllText(path, MostBytesOfConfig));
            if (document.RootElement.GetProperty("verb").GetString() is var other && other != verb.Name)
            {
                throw new UsageException($"{path}: belongs to a run of {other}, not of {verb.Name}");
            }

            var options = document.RootElement.GetProperty("options").EnumerateObject();
            foreach (var given in options.Where(option => option.Value.ValueKind == JsonValueKind.String))
            {
                var option = verb.Options.FirstOrDefault(o => o.Name == given.Name)
                    ?? throw new UsageException($"{path}: sets --{given.Name}, which {verb.Name} does not have; delete that line");
                // Where a run goes and how it is shown belongs to this command line, not to the one that is repeated.
                if (!option.IsPresentation && ValueOf(words, option.Name) is null)
                {
                    words.Add($"--{option.Name}={given.Value.GetString()}");
                }
            }
        }
        catch (Exception exception) when (exception
            is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new UsageException($"{path}: is not the configuration of a run: {exception.Message}");
        }

        return words;
    }
}
