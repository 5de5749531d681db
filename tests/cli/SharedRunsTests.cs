using System.Diagnostics;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Verbs under mpirun whose runs are shared out to the ranks.</summary>
public sealed class SharedRunsTests : IDisposable
{
    private static readonly string[] Sweep =
    [
        "depth-sweep", "--dataset", "synthetic", "--limit", "64", "--batch", "16", "--planes", "2", "--depths", "2", "--solvers", "euler",
        "--reconstructions", "backprop", "--seeds", "1,2", "--threads", "1", "--epochs", "1",
    ];

    private readonly string folder = Directory.CreateTempSubdirectory("shared").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>
    /// Of more ranks than runs, in the same order and with the same files; and so it stays where other ranks find it finished. Rank 0 takes
    /// the first run at once.
    /// </summary>
    [Fact]
    public void Sweep_IsThatOfOneProcess()
    {
        var (one, many) = (At("one"), At("many"));
        var (code, _, error) = Executable.Run([.. Sweep, "--jobs", "2", "--out", one]);
        Assert.True(code == 0, error);
        (code, var output, error) = Mpirun.Run(3, [.. Sweep, "--verbose", "--json", "--out", many]);
        Assert.True(code == 0, error);
        Assert.Equal(2, output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Matches("euler-backprop-2-2: run by rank [12]", error);
        Assert.DoesNotContain("euler-backprop-2-1: run by rank", error, StringComparison.Ordinal);
        foreach (var file in (string[])["depth-sweep.csv", "depth-sweep.svg"])
        {
            Assert.Equal(File.ReadAllText(Path.Combine(one, file)), File.ReadAllText(Path.Combine(many, file)));
        }

        Assert.Equal(Entries(one), Entries(many));
        var table = File.ReadAllText(Path.Combine(one, "depth-sweep.csv"));
        (code, _, error) = Mpirun.Run(2, [.. Sweep, "--out", many, "--resume"]);
        Assert.True(code == 0, error);
        Assert.Equal(table, File.ReadAllText(Path.Combine(many, "depth-sweep.csv")));
    }

    /// <summary>Where rank 0 was killed, one process goes on: what was finished is kept, and what another rank had taken is run.</summary>
    [Fact]
    public void ASweepThatIsKilled_GoesOnInOneProcess()
    {
        var run = At("run");
        string[] sweep = [.. Sweep.Select(word => word == "1,2" ? "1,2,3,4,5" : word), "--out", run];
        using (var running = new Running(Mpirun.Start(["-n", "2", Mpirun.Program, .. sweep])))
        {
            while (Points(run).Count == 0)
            {
                Assert.False(running.Process.WaitForExit(20), "ended by itself");
            }

            Send("KILL", running.Process.Id, rank: 0);
            running.Process.WaitForExit();
        }

        var kept = Points(run);
        var times = kept.ConvertAll(File.GetLastWriteTimeUtc);
        Assert.True(Directory.Exists(Path.Combine(run, "ranks")));
        var (code, _, error) = Executable.Run([.. sweep, "--resume"]);
        Assert.True(code == 0, error);
        Assert.Equal(6, File.ReadLines(Path.Combine(run, "depth-sweep.csv")).Count());
        Assert.Equal(times, kept.ConvertAll(File.GetLastWriteTimeUtc));
        Assert.False(Directory.Exists(Path.Combine(run, "ranks")));
    }

    /// <summary>Rank 0 tells of it, names the run and the rank, and all end.</summary>
    [Fact]
    public void ARunThatFailsOnAnotherRank_IsToldOnce()
    {
        var run = At("run");
        Assert.Equal(0, Executable.Run([.. Sweep, "--jobs", "2", "--out", run]).Code);
        Directory.Delete(Path.Combine(run, "points"), recursive: true);
        var checkpoint = Path.Combine(run, "euler-backprop-2-2", "checkpoint.bin");
        File.WriteAllText(checkpoint, "no checkpoint");
        var (code, _, error) = Mpirun.Run(2, [.. Sweep, "--out", run, "--resume"]);
        Assert.Equal(1, code);
        Assert.StartsWith($"resnet-nodes: {run}/euler-backprop-2-2, on rank 1: {checkpoint}: ", Assert.Single(Mpirun.Failures(error)));
        Assert.False(Directory.Exists(Path.Combine(run, "ranks")));
    }

    /// <summary>A signal to any rank ends all in order, with the line that goes on.</summary>
    [Fact]
    public async Task ASignalToOneRank_EndsAll()
    {
        var run = At("run");
        string[] sweep = [.. Sweep[..^1], "100000", "--out", run];
        using var running = new Running(Mpirun.Start(["-n", "2", Mpirun.Program, .. sweep]));
        var error = running.Process.StandardError.ReadToEndAsync();
        while (!Path.Exists(Path.Combine(run, "euler-backprop-2-2", "checkpoint.bin")))
        {
            Assert.False(running.Process.WaitForExit(20), "ended by itself");
        }

        Send("TERM", running.Process.Id, rank: 1);
        running.Process.WaitForExit();
        Assert.NotEqual(0, running.Process.ExitCode);
        var said = Assert.Single(Mpirun.Failures(await error));
        Assert.StartsWith("resnet-nodes: interrupted; continue with: mpirun -n 2 resnet-nodes depth-sweep ", said);
        Assert.False(Directory.Exists(Path.Combine(run, "ranks")));
        Assert.Empty(Directory.EnumerateFiles(run, "*.partial", SearchOption.AllDirectories));
    }

    /// <summary>Here a relative path leads to two folders: nothing is left in either.</summary>
    [Fact]
    public void AFolderThatOneRankDoesNotSee_IsToldByItsName()
    {
        var (here, there) = (Directory.CreateDirectory(At("here")).FullName, Directory.CreateDirectory(At("there")).FullName);
        string[] program = ["-n", "1", Mpirun.Program, .. Sweep, "--out", "run"];
        var (code, _, error) = Mpirun.Launch(["--wdir", here, .. program, ":", "--wdir", there, .. program]);
        Assert.Equal(1, code);
        Assert.Equal(
            "resnet-nodes: run: rank 1 does not see this folder, or can't write to it; take an --out that all ranks share",
            Assert.Single(Mpirun.Failures(error)));
        Assert.Empty(Directory.EnumerateFileSystemEntries(here));
        Assert.Empty(Directory.EnumerateFileSystemEntries(there));
    }

    /// <summary>An experiment without runs is rank 0's; another one's runs are shared.</summary>
    [Fact]
    public void Reproduce_SharesTheRunsOfItsExperiments()
    {
        var run = At("run");
        var (code, _, error) = Mpirun.Run(
            2, "reproduce", "--preset", "smoke", "--only", "train,tied", "--verbose", "--threads", "1", "--out", run);
        Assert.True(code == 0, error);
        Assert.Matches(@"\] auto_2-.*: run by rank 1", error);
        Assert.All((string[])["train", "tied"], name => Assert.True(File.Exists(Path.Combine(run, name, "summary.json"))));
        Assert.True(File.Exists(Path.Combine(run, "report", "report.html")));
    }

    private string At(string name) => Path.Combine(folder, name);

    private static List<string> Points(string run) => Directory.Exists(Path.Combine(run, "points"))
        ? [.. Directory.EnumerateFiles(Path.Combine(run, "points"), "*.json")]
        : [];

    private static IEnumerable<string> Entries(string run) =>
        Directory.EnumerateFileSystemEntries(run).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal);

    private static void Send(string signal, int mpirun, int rank)
    {
        var ranks = File.ReadAllText($"/proc/{mpirun}/task/{mpirun}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var process = ranks.Single(id => File.ReadAllText($"/proc/{id}/environ").Split('\0').Contains($"OMPI_COMM_WORLD_RANK={rank}"));
        Process.Start("kill", [$"-{signal}", process]).WaitForExit();
    }
}
