namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// The files by which the ranks of a launch agree who runs what. They are in a folder inside the run's, which all ranks have to see. Each
/// launch has names of its own: what one has left that was killed says nothing to the next.
/// </summary>
internal sealed class RankBoard
{
    private const string FolderName = "ranks", Beginning = "launch-";
    private const string Remedy = "start all ranks again with --resume";

    // A file system that several machines share may show a new folder late.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5), Look = TimeSpan.FromMilliseconds(100);

    /// <summary>The board of a launch.</summary>
    /// <param name="name">How its files begin.</param>
    public RankBoard(string name) => Name = name;

    /// <summary>By this other ranks find it.</summary>
    public string Name { get; }

    /// <summary>Whether the launch goes on.</summary>
    public bool IsOpen => File.Exists(At("open"));

    /// <summary>A new one.</summary>
    /// <param name="run">The folder of what all ranks work for.</param>
    public static RankBoard Open(RunFolder run)
    {
        var board = new RankBoard(run.Part(FolderName).NewFiles(Beginning) + Guid.NewGuid().ToString("N"));
        AtomicFile.Write(board.At("open"), string.Empty);
        return board;
    }

    /// <summary>Removes what launches have left, whichever.</summary>
    /// <param name="run">The path of a run that no other process is at.</param>
    public static void Clear(string run)
    {
        var folder = new DirectoryInfo(Path.Combine(run, FolderName));
        if (!folder.Exists || folder.LinkTarget is not null)
        {
            return;
        }

        foreach (var file in folder.EnumerateFiles(Beginning + "*"))
        {
            file.Delete();
        }

        if (!folder.EnumerateFileSystemInfos().Any())
        {
            folder.Delete();
        }
    }

    /// <summary>Whether a rank sees the board and can write to it.</summary>
    public bool IsShared(int rank)
    {
        for (var tried = Environment.TickCount64; !IsOpen && Environment.TickCount64 - tried < Patience.TotalMilliseconds;)
        {
            Thread.Sleep(Look);
        }

        try
        {
            return IsOpen && Create($"rank-{rank}");
        }
        catch (ResNetNodesException)
        {
            return false;
        }
    }

    /// <summary>Ends the launch: all ranks look for it.</summary>
    public void Close()
    {
        try
        {
            File.Delete(At("open"));
        }
        catch (DirectoryNotFoundException)
        {
            // Another launch has cleared it away.
        }
    }

    /// <summary>Offers runs to all ranks.</summary>
    /// <param name="list">The list's number, from 0.</param>
    /// <param name="runs">Its runs.</param>
    public void Offer(int list, RunList runs) => AtomicFile.Write(ListFile(list), SealedJson.Write(runs));

    /// <summary>Waits for a list.</summary>
    public RunList Await(int list, CancellationToken cancellation)
    {
        while (!File.Exists(ListFile(list)))
        {
            cancellation.WaitHandle.WaitOne(Look);
            cancellation.ThrowIfCancellationRequested();
        }

        return SealedJson.Read<RunList>(ListFile(list), Remedy);
    }

    /// <summary>Runs of a list that are this rank's alone, each when it is asked for.</summary>
    public IEnumerable<int> Claim(int list, RunList runs, CancellationToken cancellation) =>
        Enumerable.Range(0, runs.Runs.Count).TakeWhile(_ => !cancellation.IsCancellationRequested)
            .Where(run => Create($"{list}-claim-{run}"));

    /// <summary>Tells what became of a run.</summary>
    public void Report(int list, int run, RunOutcome outcome) =>
        AtomicFile.Write(At($"{list}-done-{run}.json"), SealedJson.Write(outcome));

    /// <summary>What other ranks have told of runs.</summary>
    /// <param name="list">The list.</param>
    /// <param name="known">Runs that are left out; gets those that are told of.</param>
    public IEnumerable<(int Run, RunOutcome Outcome)> Reports(int list, ISet<int> known)
    {
        var (folder, beginning) = (Path.GetDirectoryName(Name)!, $"{Path.GetFileName(Name)}-{list}-done-");
        foreach (var path in Directory.EnumerateFiles(folder, beginning + "*.json"))
        {
            var run = int.Parse(Path.GetFileNameWithoutExtension(path)[beginning.Length..]);
            if (known.Add(run))
            {
                yield return (run, SealedJson.Read<RunOutcome>(path, Remedy));
            }
        }
    }

    // Whether it was not there: of several ranks one succeeds.
    private bool Create(string name)
    {
        var path = At(name);
        try
        {
            new FileStream(path, FileMode.CreateNew, FileAccess.Write).Dispose();
            return true;
        }
        catch (IOException) when (File.Exists(path))
        {
            return false;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be written: {exception.Message}", exception);
        }
    }

    private string ListFile(int list) => At($"{list}-runs.json");

    private string At(string name) => $"{Name}-{name}";
}
