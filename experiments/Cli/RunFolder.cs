using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Cli;

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

    private readonly string verb;
    private readonly List<string> figures = [];
    private readonly List<string> tables = [];

    private RunFolder(string path, string verb) => (Path, this.verb) = (path, verb);

    public string Path { get; }

    /// <summary>Makes the folder, or takes it up, and writes config.json.</summary>
    public static RunFolder Open(CommonOptions options)
    {
        var verb = StrictArguments.NameOf(options.GetType());
        var resume = CommonOptions.Is(options.Resume);
        var path = options.Out ?? Fresh(verb, resume);
        if (CommonOptions.Is(options.Overwrite) && resume)
        {
            throw new UsageException("--overwrite and --resume exclude each other");
        }

        try
        {
            var config = System.IO.Path.Combine(path, RunConfig.FileName);
            if (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any())
            {
                if (CommonOptions.Is(options.Overwrite))
                {
                    // Only what a run made may be emptied: a mistyped folder must not cost anyone their data.
                    if (!System.IO.File.Exists(config))
                    {
                        throw new ResNetNodesException($"{path}: holds files but no config.json of a run; empty it yourself, or take another --out");
                    }

                    Directory.Delete(path, recursive: true);
                }
                else if (!resume)
                {
                    throw new ResNetNodesException($"{path}: is not empty; take --resume, --overwrite, or another --out");
                }
                else if (System.IO.File.Exists(config))
                {
                    RunConfig.Check(config, options, verb);
                }
            }

            Directory.CreateDirectory(path);
            var folder = new RunFolder(path, verb);
            AtomicFile.Write(config, JsonSerializer.Serialize(RunConfig.Of(options, verb), Json) + "\n");
            return folder;
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
        ? Directory.EnumerateFiles(File(PointsFolder), $"{beginning}*.json").Select(path => System.IO.Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)
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
    public void Finish(Terminal terminal, string title, string paper, params IReadOnlyList<Finding> findings)
    {
        var summary = new RunSummary(verb, title, paper, findings, figures, tables);
        AtomicFile.Write(File(RunSummary.FileName), JsonSerializer.Serialize(summary, Json) + "\n");
        foreach (var finding in findings)
        {
            var verdict = finding.Holds switch { true => "holds", false => "does not hold", null => "this setting can't show it" };
            terminal.Say($"{finding.Claim}: {verdict}: {finding.Measured}");
        }

        terminal.Say($"output: {Path}");
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
