using System.Collections.Concurrent;
using System.Text.Json;

namespace ResNetNodes.Cli.Tests;

/// <summary>A finished run, and what it said.</summary>
internal sealed record FinishedRun(string Folder, int Code, List<JsonElement> Rows, string Error)
{
    private const string NotRead = "options that had no effect here: ";

    /// <summary>The options that the run did not read, as it says with --verbose.</summary>
    public IReadOnlyList<string> Unread
    {
        get
        {
            var said = Error.Split('\n').Last(line => line.Contains(NotRead, StringComparison.Ordinal)).Split(NotRead)[1].Trim();
            return said == "none" ? [] : [.. said.Split(", ").Select(option => option.TrimStart('-'))];
        }
    }

    /// <summary>The options of config.json; null where one was not given.</summary>
    public IReadOnlyDictionary<string, string?> Options
    {
        get
        {
            using var config = JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder, "config.json")));
            return config.RootElement.GetProperty("options").EnumerateObject().ToDictionary(o => o.Name, o => o.Value.GetString());
        }
    }
}

/// <summary>Every verb at its preset smoke, run once for all tests that look at the result.</summary>
internal static class SmokeRuns
{
    private static readonly string Root = Directory.CreateTempSubdirectory("smoke").FullName;
    private static readonly ConcurrentDictionary<string, Lazy<FinishedRun>> Runs = new();

    static SmokeRuns() => AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(Root, recursive: true);

    /// <summary>The verbs that have a preset smoke and leave a folder: those of the overview that are no collection of others.</summary>
    public static IReadOnlyList<string> Verbs { get; } =
        [.. Help.Verbs.Where(verb => verb != "reproduce" && Help.Of(verb).Contains("\n  smoke ", StringComparison.Ordinal))];

    public static FinishedRun Of(string verb) => Runs.GetOrAdd(verb, _ => new(() => Start(verb, Path.Combine(Root, verb)))).Value;

    /// <summary>The preset smoke with other options, in a folder.</summary>
    public static FinishedRun Start(string verb, string folder, params string[] words)
    {
        var (code, rows, error) = Executable.RunRows([verb, "--preset", "smoke", .. words, "--out", folder, "--json", "--verbose"]);
        return new(folder, code, rows, error);
    }
}

/// <summary>What the executable says of itself.</summary>
internal static class Help
{
    private static readonly ConcurrentDictionary<string, Lazy<string>> Pages = new();

    public static string Overview { get; } = Executable.Run("--help").Out;

    public static IReadOnlyList<string> Verbs { get; } =
    [
        .. Overview.Split('\n').Where(line => line.StartsWith("  ", StringComparison.Ordinal)).Select(line => line.Trim().Split(' ')[0])
            .Where(word => word is not ("help" or "version")),
    ];

    public static string Of(string verb) => Pages.GetOrAdd(verb, _ => new(() => Executable.Run("help", verb).Out)).Value;

    /// <summary>The options of a verb with their defaults; null where there is none.</summary>
    public static IReadOnlyDictionary<string, string?> Options(string verb)
    {
        var options = new Dictionary<string, string?>();
        string? last = null;
        foreach (var line in Of(verb).Split('\n').TakeWhile(line => !line.StartsWith("rows of", StringComparison.Ordinal)))
        {
            var at = line.IndexOf("--", StringComparison.Ordinal);
            if (at is >= 0 and < 8 && line.StartsWith("  ", StringComparison.Ordinal))
            {
                last = line[(at + 2)..].Split(' ')[0].TrimEnd();
                options[last] = null;
            }

            if (last is not null && line.TrimEnd().EndsWith(']'))
            {
                options[last] = line.TrimEnd()[(line.LastIndexOf('[') + 1)..^1];
            }
        }

        return options;
    }
}
