using System.Text;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// files.txt in the folder of a run: by it the folder is known for ours, it names everything that the run has written there, each before
/// it is written, and it is locked while a process is at the run; the system frees the lock however that process ends.
/// </summary>
internal sealed class RunFiles : IDisposable
{
    public const string FileName = "files.txt";

    private const string Heading = "Files of a run of resnet-nodes. --overwrite removes these, and refuses a folder that holds others.";
    private const char OfAFolder = '/', OfABeginning = '*';
    private const long MostBytes = 64 << 20;
    private const int Locked = 11; // EWOULDBLOCK of the lock

    // As long as a process that was killed may take to give its memory back.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    private readonly string folder;
    private readonly FileStream file;
    private readonly HashSet<string> names = new(StringComparer.Ordinal);
    private readonly object gate = new();

    private RunFiles(string folder, FileStream file) => (this.folder, this.file) = (folder, file);

    /// <summary>Whether the folder is that of a run, if only of one that was ended while it wrote the first line of its list.</summary>
    public static bool Marks(string folder)
    {
        var path = Path.Combine(folder, FileName);
        try
        {
            using var list = RegularFile.OpenRead(path);
            Span<byte> first = stackalloc byte[Heading.Length];
            var length = list.ReadAtLeast(first, first.Length, throwOnEndOfStream: false);
            var isOurs = new FileInfo(path).LinkTarget is null
                && Heading.StartsWith(Encoding.UTF8.GetString(first[..length]), StringComparison.Ordinal);
            return isOurs && (length == first.Length || Directory.EnumerateFileSystemEntries(folder).Take(2).Count() == 1);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Begins the list in a folder that has none; null where another process has just done so.</summary>
    public static RunFiles? Begin(string folder)
    {
        var path = Path.Combine(folder, FileName);
        FileStream file;
        try
        {
            file = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException) when (File.Exists(path))
        {
            return null;
        }

        var files = new RunFiles(folder, file);
        files.Append(Heading);
        return files;
    }

    /// <summary>Takes up the list of a folder that <see cref="Marks"/> knows.</summary>
    /// <exception cref="ResNetNodesException">Another process is at the run.</exception>
    public static RunFiles TakeUp(string folder)
    {
        var path = Path.Combine(folder, FileName);
        for (var tried = Environment.TickCount64; ;)
        {
            try
            {
                var files = new RunFiles(folder, new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None));
                files.Load(path);
                return files;
            }
            catch (IOException exception) when (exception.HResult == Locked)
            {
                if (Environment.TickCount64 - tried > Patience.TotalMilliseconds)
                {
                    throw new ResNetNodesException(
                        $"{folder}: another process is at this run ({FileName} is locked); wait for it, end it, or take another "
                        + "--out",
                        exception);
                }

                Thread.Sleep(50);
            }
        }
    }

    /// <summary>Notes a file before it is written.</summary>
    /// <param name="name">Relative to the folder.</param>
    public void Add(string name) => Note(name);

    /// <summary>Notes a folder: a run of its own, or one of files that are noted too.</summary>
    public void AddFolder(string name) => Note(name + OfAFolder);

    /// <summary>Notes files whose names are made elsewhere: those that begin so.</summary>
    public void AddBeginning(string beginning) => Note(beginning + OfABeginning);

    /// <summary>Removes what the list names, file by file; then the list is as new.</summary>
    /// <exception cref="ResNetNodesException">The folder holds something else; nothing is removed then.</exception>
    public void Clear()
    {
        var found = new Found([], [], []);
        try
        {
            Survey(found);
            found.Files.ForEach(File.Delete);
            // The deepest first.
            found.Folders.OrderByDescending(path => path.Length).ToList().ForEach(Directory.Delete);
        }
        finally
        {
            found.Runs.ForEach(run => run.Dispose());
        }

        file.SetLength(0);
        names.Clear();
        Append(Heading);
    }

    /// <summary>Whether none of the files of the list is there, but for some.</summary>
    public bool HoldsOnly(params IReadOnlyList<string> files) => Directory.EnumerateFileSystemEntries(folder)
        .All(path => Path.GetFileName(path) is var name && (name == FileName || files.Contains(name)));

    /// <summary>Removes all that the list names, and the list.</summary>
    public void Remove()
    {
        Clear();
        File.Delete(file.Name);
    }

    public void Dispose() => file.Dispose();

    // What may go: nothing yet does. Runs inside of this one are taken up, so that none goes on meanwhile.
    private void Survey(Found found)
    {
        Walk(folder);

        void Walk(string path)
        {
            foreach (var entry in new DirectoryInfo(path).EnumerateFileSystemInfos("*", Everything))
            {
                var name = Path.GetRelativePath(folder, entry.FullName);
                if (entry.LinkTarget is not null || !(entry is DirectoryInfo ? IsOurFolder(name) : IsOurs(name)))
                {
                    throw new ResNetNodesException(
                        $"{folder}: holds {name}, which no run wrote, so nothing was removed; move it away, or take another --out");
                }

                if (entry is not DirectoryInfo)
                {
                    if (name != FileName)
                    {
                        found.Files.Add(entry.FullName);
                    }

                    continue;
                }

                found.Folders.Add(entry.FullName);
                if (Marks(entry.FullName))
                {
                    var run = TakeUp(entry.FullName);
                    found.Runs.Add(run);
                    run.Survey(found);
                    found.Files.Add(run.file.Name);
                }
                else
                {
                    Walk(entry.FullName);
                }
            }
        }
    }

    private static EnumerationOptions Everything { get; } = new() { AttributesToSkip = 0, IgnoreInaccessible = false };

    private bool IsOurFolder(string name) => names.Any(known => known.StartsWith(name + OfAFolder, StringComparison.Ordinal));

    private bool IsOurs(string name) => name == FileName || names.Contains(name)
        || (name.EndsWith(AtomicFile.Unfinished, StringComparison.Ordinal) && names.Contains(name[..^AtomicFile.Unfinished.Length]))
        || names.Any(known => known[^1] == OfABeginning && name.StartsWith(known[..^1], StringComparison.Ordinal));

    private void Note(string name)
    {
        lock (gate)
        {
            if (names.Add(name))
            {
                Append(name);
            }
        }
    }

    private void Append(string line)
    {
        try
        {
            file.Seek(0, SeekOrigin.End);
            file.Write(Encoding.UTF8.GetBytes(line + "\n"));
            file.Flush();
        }
        catch (IOException exception)
        {
            throw new ResNetNodesException($"{file.Name}: can't be written: {exception.Message}", exception);
        }
    }

    private void Load(string path)
    {
        if (file.Length > MostBytes)
        {
            throw new ResNetNodesException($"{path}: is {file.Length:N0} bytes long; it is damaged, take another --out");
        }

        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        var text = Encoding.UTF8.GetString(bytes);
        // A crash may have cut the last line; what it would have named was not written yet.
        var whole = text[..(text.LastIndexOf('\n') + 1)];
        if (whole.Length < text.Length)
        {
            file.SetLength(Encoding.UTF8.GetByteCount(whole));
        }

        if (whole.Length == 0)
        {
            Append(Heading);
        }

        names.UnionWith(whole.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1));
    }

    private sealed record Found(List<string> Files, List<string> Folders, List<RunFiles> Runs);
}
