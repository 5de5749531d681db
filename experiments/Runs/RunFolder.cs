using System.Globalization;
using System.Reflection;
using System.Text;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// The folder of a run: files.txt, config.json, points, tables, figures, summary.json. Files appear whole. One process at a time is at a
/// run, and only what runs wrote is ever removed.
/// </summary>
internal sealed class RunFolder : IRunKeeper
{
    private const string PointsFolder = "points";
    private const string MakeAgain = "delete it, and --resume makes it again";

    private readonly Verb verb;
    private readonly RunFiles files;
    private readonly Lazy<bool> config;
    private readonly string prefix;
    private readonly string? made;
    private readonly List<ShownFigure> figures = [];
    private readonly List<string> tables = [];

    private RunFolder(string path, Verb verb, RunFiles files, Lazy<bool> config, string prefix, string? made) =>
        (Path, this.verb, this.files, this.config, this.prefix, this.made) = (path, verb, files, config, prefix, made);

    public string Path { get; }

    /// <summary>
    /// Makes the folder, or takes it up. config.json is written before the first other file: what refuses to go on with these options
    /// may come between.
    /// </summary>
    public static RunFolder Open(Verb verb)
    {
        var group = verb.Group<FolderGroup>()!;
        var (resume, overwrite) = (group.Resume == true, group.Overwrite == true);
        if (overwrite && resume)
        {
            throw new UsageException("--overwrite and --resume exclude each other");
        }

        var path = group.Out;
        try
        {
            var (files, made) = path is null ? Default(verb, resume, overwrite, out path) : Take(path, verb, resume, overwrite);
            var config = new Lazy<bool>(() =>
            {
                files.Add(RunConfig.FileName);
                AtomicFile.Write(System.IO.Path.Combine(path, RunConfig.FileName), SealedJson.Write(RunConfig.Of(verb)));
                return true;
            });
            var folder = new RunFolder(path, verb, files, config, string.Empty, made);
            verb.Keeper = folder;
            RankBoard.Clear(path);
            SharedRuns.Current?.Show(folder);
            return folder;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be used as the folder of a run: {exception.Message}", exception);
        }
    }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>The path of a file that is about to be written.</summary>
    public string NewFile(string name) => New(name, files.Add);

    /// <summary>The beginning of the paths of files that something else is about to name and write.</summary>
    public string NewFiles(string beginning) => New(beginning, files.AddBeginning);

    /// <summary>A folder inside, which is about to become that of another run.</summary>
    public string NewRun(string name) => New(name, files.AddFolder);

    /// <summary>Writes a file; it appears whole.</summary>
    public void Write(string name, string content) => AtomicFile.Write(NewFile(name), content);

    /// <summary>Writes a file; it appears whole.</summary>
    public void Write(string name, byte[] content) => AtomicFile.Write(NewFile(name), content);

    /// <summary>A folder inside, for a part of the run that keeps files of its own.</summary>
    public RunFolder Part(string name) => new(MakeFolder(name), verb, files, config, prefix + name + "/", null);

    /// <summary>A part of the run that is made once: read back where an earlier start has finished it.</summary>
    public T Point<T>(string key, Func<T> make)
        where T : class
    {
        if (Made<T>(key) is { } made)
        {
            return made;
        }

        var value = make();
        MakeFolder(PointsFolder);
        Write(PointFile(key), SealedJson.Write(new StoredPoint<T>(key, RunConfig.Digest(verb), value)));
        return value;
    }

    /// <summary>A part of the run that was made before; null where it was not.</summary>
    public T? Made<T>(string key)
        where T : class
    {
        var path = File(PointFile(key));
        if (!System.IO.File.Exists(path))
        {
            return null;
        }

        var point = SealedJson.Read<StoredPoint<T>>(path, MakeAgain);
        if (point.Key != key)
        {
            throw new ResNetNodesException($"{path}: is the part {point.Key} of a run, not {key}; {MakeAgain}");
        }

        return point.Options == RunConfig.Digest(verb)
            ? point.Value
            : throw new ResNetNodesException($"{path}: was made with other options than these; take those, --overwrite or another --out");
    }

    /// <summary>The keys of the parts that were made, of those that begin so.</summary>
    public IEnumerable<string> Keys(string beginning) => Directory.Exists(File(PointsFolder))
        ? Directory.EnumerateFiles(File(PointsFolder), $"{beginning}*.json")
            .Select(path => System.IO.Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)
        : [];

    /// <summary>Names a figure's SVG for the report, and says what it shows.</summary>
    public void AddFigure(string name, string title) => figures.Add(new(name, title));

    /// <summary>Records as CSV; columns are those of the first.</summary>
    public void WriteCsv<T>(string name, IReadOnlyList<T> records)
        where T : notnull
    {
        if (records.Count == 0)
        {
            return;
        }

        Write(name, Rows.Csv(records));
        if (!tables.Contains(name))
        {
            tables.Add(name);
        }
    }

    /// <summary>Marks the run as finished, and tells people what was found.</summary>
    public void Finish(Terminal terminal, string title, params IReadOnlyList<Finding> findings)
    {
        var paper = verb.GetType().GetCustomAttribute<PaperRowAttribute>()?.Name ?? RunSummary.Beyond;
        var digests = figures.Select(figure => figure.Name).Concat(tables).Distinct()
            .ToDictionary(name => name, name => RunSummary.DigestOf(File(name)));
        Write(RunSummary.FileName, SealedJson.Write(new RunSummary(verb.Name, title, paper, findings, figures, tables, digests)));
        foreach (var finding in findings)
        {
            terminal.Say($"{finding.Claim}: {finding.Verdict}: {finding.Measured}");
        }

        terminal.Say($"output: {Path}");
    }

    public bool Abandon()
    {
        SharedRuns.Current?.End(this);
        try
        {
            if (!files.HoldsOnly(RunConfig.FileName))
            {
                return true;
            }

            files.Remove();
            RemoveMade();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ResNetNodesException)
        {
            // The failure that led here is the one to tell.
        }

        return false;
    }

    public void Dispose()
    {
        SharedRuns.Current?.End(this);
        files.Dispose();
    }

    private static (RunFiles Files, string? Made) Take(string path, Verb verb, bool resume, bool overwrite)
    {
        var made = FirstMissing(path);
        Directory.CreateDirectory(path);
        if (!RunFiles.Marks(path))
        {
            if (Directory.EnumerateFileSystemEntries(path).Any())
            {
                throw new ResNetNodesException(resume || overwrite
                    ? $"{path}: is not the folder of a run (its files have no list in {RunFiles.FileName}); take another --out"
                    : $"{path}: is not empty; take another --out");
            }

            if (RunFiles.Begin(path) is { } begun)
            {
                return (begun, made);
            }
        }

        if (!resume && !overwrite)
        {
            throw new ResNetNodesException($"{path}: is not empty; take --resume, --overwrite, or another --out");
        }

        var files = RunFiles.TakeUp(path);
        try
        {
            if (overwrite)
            {
                files.Clear();
            }
            else
            {
                RunConfig.Check(path, verb);
            }
        }
        catch
        {
            files.Dispose();
            throw;
        }

        return (files, null);
    }

    // runs/VERB, or the first of runs/VERB-2, -3, ... that no run has taken.
    private static (RunFiles Files, string? Made) Default(Verb verb, bool resume, bool overwrite, out string path)
    {
        path = System.IO.Path.Combine("runs", verb.Name);
        if (resume || overwrite)
        {
            return Take(path, verb, resume, overwrite);
        }

        for (var i = 2; ; i++)
        {
            if (!System.IO.Path.Exists(path))
            {
                var made = FirstMissing(path);
                Directory.CreateDirectory(path);
                if (RunFiles.Begin(path) is { } begun)
                {
                    return (begun, made);
                }
            }

            path = System.IO.Path.Combine("runs", $"{verb.Name}-{i}");
        }
    }

    // The outermost folder on a path that is not there yet.
    private static string? FirstMissing(string path)
    {
        string? missing = null;
        var at = System.IO.Path.GetFullPath(path);
        while (at is not null && !System.IO.Path.Exists(at))
        {
            missing = at;
            at = System.IO.Path.GetDirectoryName(at);
        }

        return missing;
    }

    // Folders that this start has made, its own and those on the way to it, as far as they are empty.
    private void RemoveMade()
    {
        for (var at = System.IO.Path.GetFullPath(Path);
            made is not null && at is not null && at.Length >= made.Length && !Directory.EnumerateFileSystemEntries(at).Any();
            at = System.IO.Path.GetDirectoryName(at))
        {
            Directory.Delete(at);
        }
    }

    private string New(string name, Action<string> note)
    {
        _ = config.Value;
        note(prefix + name);
        return File(name);
    }

    private string MakeFolder(string name)
    {
        var path = New(name, files.AddFolder);
        if (new DirectoryInfo(path).LinkTarget is not null)
        {
            throw new ResNetNodesException($"{path}: is a link, where the run keeps a folder; remove it");
        }

        Directory.CreateDirectory(path);
        return path;
    }

    private static string PointFile(string key) => System.IO.Path.Combine(PointsFolder, key.Replace(':', '_') + ".json");

    /// <summary>A part of a run as it is kept.</summary>
    /// <param name="Key">Its name.</param>
    /// <param name="Options">The options that it was made with (<see cref="RunConfig.Digest"/>).</param>
    /// <param name="Value">What was made.</param>
    private sealed record StoredPoint<T>(string Key, string Options, T Value);
}
