using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The command line under mpirun: several processes that train one network.</summary>
public sealed class RankTests : IDisposable
{
    private static readonly string[] Training =
        ["train", "--dataset", "synthetic", "--limit", "64", "--depth", "2", "--planes", "8", "--epochs", "2", "--workers", "1"];

    private readonly string folder = Directory.CreateTempSubdirectory("ranks").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>
    /// Rank 0 alone shows results; they are those of one process that accumulates the shares. To rounding: it adds in place, in another
    /// order (tests/managed/DataParallelTests.cs has equal bits). Without adaptive, which would learn other steps.
    /// </summary>
    [Fact]
    public void Train_ShowsOneRun()
    {
        var (many, one) = (Path.Combine(folder, "many"), Path.Combine(folder, "one"));
        var (code, output, error) = Mpirun.Run(2, [.. Training, "--batch", "16", "--reconstruction", "backprop", "--json", "--out", many]);
        Assert.True(code == 0, error);
        var (_, rows, _) = Executable.RunRows(
            [.. Training, "--batch", "8", "--accumulate", "2", "--reconstruction", "backprop", "--json", "--out", one]);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement).ToList();
        Assert.Equal(2, lines.Count);
        Assert.Equal(rows.Select(TrainLoss), lines.Select(TrainLoss), (a, b) => Math.Abs(a - b) < 1e-6);
        Assert.True(File.Exists(Path.Combine(many, "summary.json")));
        Assert.Equal(1, error.Split('\n').Count(line => line.StartsWith("output: ", StringComparison.Ordinal)));

        static double TrainLoss(JsonElement row) => row.GetProperty("train_loss").GetDouble();
    }

    /// <summary>What is wrong on every rank is told once, in one line of ours.</summary>
    [Theory]
    [InlineData(2, "train has no option --dep; did you mean depth?", "train", "--dep", "3")]
    [InlineData(2, "summary runs in one process; start it without mpirun, which is for reproduce, train, depth-sweep, scaling", "summary")]
    [InlineData(1, "synthetic: 2 ranks can't share batches of 1 images; take fewer ranks or larger batches",
        "train", "--dataset", "synthetic", "--limit", "8", "--batch", "1")]
    [InlineData(1, "synthetic: the last batch of an epoch has 1 images, fewer than the 2 ranks; take --drop-last, another --batch or fewer "
        + "ranks", "train", "--dataset", "synthetic", "--limit", "33", "--batch", "32")]
    public void ARefusal_IsToldOnce(int expected, string message, params string[] arguments)
    {
        var (code, _, error) = Mpirun.Run(2, arguments);
        Assert.Equal(expected, code);
        Assert.Equal("resnet-nodes: " + message, Assert.Single(Mpirun.Failures(error)));
    }

    [Fact]
    public void RanksThatAreStartedUnlike_AreRefused()
    {
        string[] program = [Mpirun.Program, .. Training, "--out", Path.Combine(folder, "run")];
        var (code, _, error) = Mpirun.Launch(["-n", "1", .. program, ":", "-n", "1", .. program, "--seed", "2"]);
        Assert.Equal(1, code);
        Assert.Equal(
            "resnet-nodes: rank 1 has --seed 2, and rank 0 has --seed 1; start all ranks alike", Assert.Single(Mpirun.Failures(error)));
    }

    /// <summary>Where rank 0 can't write, all end, and the run goes on once it can.</summary>
    [Fact]
    public void AFolderThatIsTaken_EndsAllRanks()
    {
        var taken = Path.Combine(folder, "taken");
        Directory.CreateDirectory(taken);
        File.WriteAllText(Path.Combine(taken, "a letter"), "mine");
        var (code, _, error) = Mpirun.Run(2, [.. Training, "--batch", "16", "--out", taken]);
        Assert.Equal(1, code);
        Assert.Equal($"resnet-nodes: {taken}: is not empty; take another --out", Assert.Single(Mpirun.Failures(error)));
        Assert.Single(Directory.EnumerateFileSystemEntries(taken));
    }
}
