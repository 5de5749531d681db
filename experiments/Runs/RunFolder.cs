using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Runs;

/// <summary>The folder of a run: config.json, points, tables, figures, summary.json. Files appear whole.</summary>
internal sealed class RunFolder
{
    public static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private const string PointsFolder = "points";

    private readonly Verb verb;
    private readonly List<string> figures = [];
    private readonly List<string> tables = [];

    private RunFolder(string path, Verb verb) => (Path, this.verb) = (path, verb);

    public string Path { get; }

    /// <summary>Makes the folder, or takes it up, and writes config.json.</summary>
    public static RunFolder Open(Verb verb)
    {
        var group = verb.Group<FolderGroup>()!;
        var (resume, overwrite) = (group.Resume == true, group.Overwrite == true);
        var path = group.Out ?? Fresh(verb.Name, resume);
        if (overwrite && resume)
        {
            throw new UsageException("--overwrite and --resume exclude each other");
        }

        try
        {
            if (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any())
            {
                TakeUp(path, verb, resume, overwrite);
            }

            Directory.CreateDirectory(path);
            AtomicFile.Write(System.IO.Path.Combine(path, RunConfig.FileName), JsonSerializer.Serialize(RunConfig.Of(verb), Json) + "\n");
            return new RunFolder(path, verb);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be used as the folder of a run: {exception.Message}", exception);
        }
    }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>A folder inside, for a part of the run that keeps files of its own.</summary>
    public RunFolder Part(string name)
    {
        Directory.CreateDirectory(File(name));
        return new RunFolder(File(name), verb);
    }

    /// <summary>A part of the run that is made once: read back where an earlier start has finished it.</summary>
    public T Point<T>(string key, Func<T> make)
        where T : class
    {
        if (Made<T>(key) is { } made)
        {
            return made;
        }

        var value = make();
        Directory.CreateDirectory(File(PointsFolder));
        AtomicFile.Write(PointFile(key), JsonSerializer.Serialize(value, Json) + "\n");
        return value;
    }

    /// <summary>A part of the run that was made before; null where it was not.</summary>
    public T? Made<T>(string key)
        where T : class
    {
        var path = PointFile(key);
        try
        {
            return System.IO.File.Exists(path) ? JsonSerializer.Deserialize<T>(System.IO.File.ReadAllText(path), Json)! : null;
        }
        catch (JsonException)
        {
            throw new ResNetNodesException($"{path}: is damaged; delete it, and --resume makes it again");
        }
    }

    /// <summary>The keys of the parts that were made, of those that begin so.</summary>
    public IEnumerable<string> Keys(string beginning) => Directory.Exists(File(PointsFolder))
        ? Directory.EnumerateFiles(File(PointsFolder), $"{beginning}*.json")
            .Select(path => System.IO.Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)
        : [];

    /// <summary>Names a figure's SVG for the report.</summary>
    public void AddFigure(string name) => figures.Add(name);

    /// <summary>Records as CSV; columns are those of the first.</summary>
    public void WriteCsv<T>(string name, IReadOnlyList<T> records)
        where T : notnull
    {
        var rows = records.Select(record => Rows.Of(record)).ToList();
        if (rows.Count == 0)
        {
            return;
        }

        var columns = rows[0].Keys.ToList();
        var text = new StringBuilder().AppendJoin(',', columns).Append('\n');
        foreach (var row in rows)
        {
            text.AppendJoin(',', columns.Select(c => Cell(row.GetValueOrDefault(c)))).Append('\n');
        }

        AtomicFile.Write(File(name), text.ToString());
        if (!tables.Contains(name))
        {
            tables.Add(name);
        }
    }

    /// <summary>Marks the run as finished, and tells people what was found.</summary>
    public void Finish(Terminal terminal, string title, params IReadOnlyList<Finding> findings)
    {
        var paper = verb.GetType().GetCustomAttribute<PaperRowAttribute>()?.Name ?? "beyond the paper";
        var summary = new RunSummary(verb.Name, title, paper, findings, figures, tables);
        AtomicFile.Write(File(RunSummary.FileName), JsonSerializer.Serialize(summary, Json) + "\n");
        foreach (var finding in findings)
        {
            var verdict = finding.Holds switch { true => "holds", false => "does not hold", null => "this setting can't show it" };
            terminal.Say($"{finding.Claim}: {verdict}: {finding.Measured}");
        }

        terminal.Say($"output: {Path}");
    }

    private static void TakeUp(string path, Verb verb, bool resume, bool overwrite)
    {
        var config = System.IO.Path.Combine(path, RunConfig.FileName);
        if (overwrite)
        {
            // Only what a run made may be emptied: a mistyped folder must not cost anyone their data.
            if (!System.IO.File.Exists(config))
            {
                throw new ResNetNodesException(
                    $"{path}: holds files but no config.json of a run; empty it yourself, or take another --out");
            }

            Directory.Delete(path, recursive: true);
        }
        else if (!resume)
        {
            throw new ResNetNodesException($"{path}: is not empty; take --resume, --overwrite, or another --out");
        }
        else if (System.IO.File.Exists(config))
        {
            RunConfig.Check(config, verb);
        }
    }

    private string PointFile(string key) => File(System.IO.Path.Combine(PointsFolder, key.Replace(':', '_') + ".json"));

    private static string Cell(object? value) => value switch
    {
        null => string.Empty,
        double d => d.ToString("R", CultureInfo.InvariantCulture),
        string s when s.Contains(',') || s.Contains('"') => $"\"{s.Replace("\"", "\"\"", StringComparison.Ordinal)}\"",
        IFormattable f => f.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? string.Empty,
    };

    private static string Fresh(string verb, bool resume)
    {
        var name = System.IO.Path.Combine("runs", verb);
        for (var i = 2; !resume && Directory.Exists(name); i++)
        {
            name = System.IO.Path.Combine("runs", $"{verb}-{i}");
        }

        return name;
    }
}
