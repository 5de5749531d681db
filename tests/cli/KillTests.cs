using System.Diagnostics;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Trainings that are ended in the middle of an epoch: the truth is one that nobody has disturbed, bit for bit.</summary>
public sealed class KillTests : IDisposable
{
    // 40 steps an epoch.
    private static readonly string[] Training =
    [
        "train", "--dataset", "synthetic", "--limit", "200", "--batch", "5", "--depth", "2", "--planes", "4", "--epochs", "3",
        "--threads", "1", "--workers", "1", "--quiet",
    ];

    private readonly string folder = Directory.CreateTempSubdirectory("kills").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>
    /// Killed at moments drawn from a seed, some of them while a checkpoint is written; ended in order at others. Each start goes on
    /// within an epoch.
    /// </summary>
    [Fact]
    public void Training_EndedWithinEpochsEqualsUndisturbed()
    {
        var whole = Path.Combine(folder, "whole");
        Finish([.. Training, "--out", whole]);
        var run = Path.Combine(folder, "run");
        var draws = new Random(7);
        var places = new List<(int Epoch, int Step)>();
        int Done() => Saved(run) is { } at ? (40 * (at.Epoch - 1)) + at.Step : 0;
        string[] ends = ["KILL", "TERM", "written", "KILL"];
        foreach (var end in ends)
        {
            // Some steps on, and then as far as it gets.
            var least = Done() + draws.Next(3, 12);
            using var running = new Running(Executable.StartWithSignals([.. Training, "--save-steps", "1", "--out", run, "--resume"]));
            Until(running.Process, () => Done() >= least);
            if (end == "written")
            {
                Until(running.Process, () => File.Exists(Checkpoint(run) + ".partial"));
            }

            Thread.Sleep(draws.Next(20));
            Signal(running.Process, end == "TERM" ? "TERM" : "KILL");
            places.Add(Saved(run)!.Value);
        }

        Assert.All(places, place => Assert.InRange(place.Epoch, 1, 3));
        Assert.True(places.Count(place => place.Step > 0) >= 2, string.Join(", ", places));
        Finish([.. Training, "--out", run, "--resume"]);
        Assert.Equal(RunContents.Checkpoint(whole), RunContents.Checkpoint(run));
        Assert.Equal(4, RunContents.Metrics(run).Count);
        Assert.Equal(RunContents.Metrics(whole), RunContents.Metrics(run));
        Assert.False(File.Exists(Checkpoint(run) + ".partial"));
    }

    /// <summary>What is ended in order is saved after its last step, however seldom it is saved otherwise, and says so.</summary>
    [Fact]
    public async Task EndedTraining_IsSavedAfterItsLastStep()
    {
        var run = Path.Combine(folder, "run");
        // 400 steps an epoch.
        string[] words = [.. Training[..^1], "--save-steps", "50", "--out", run, "--resume"];
        (words[Array.IndexOf(words, "--epochs") + 1], words[Array.IndexOf(words, "--limit") + 1]) = ("100000", "2000");
        (int Epoch, int Step) at = default;
        do
        {
            // Again, where it was between two epochs.
            using var running = new Running(Executable.StartWithSignals(words));
            var error = running.Process.StandardError.ReadToEndAsync();
            Until(running.Process, () => Saved(run) is { Step: > 0 } now && now != at);
            Signal(running.Process, "TERM");
            at = Saved(run)!.Value;
            var where = at.Step > 0 ? $"in epoch {at.Epoch}, after step {at.Step}; continue with" : $"in epoch {at.Epoch}; continue with";
            Assert.Contains($"interrupted {where}", await error);
        }
        while (at.Step == 0);

        using var again = new Running(Executable.StartWithSignals(words));
        string? line;
        while ((line = await again.Process.StandardError.ReadLineAsync()) is not null
            && !line.Contains("train: resumed", StringComparison.Ordinal))
        {
        }

        Assert.EndsWith($"train: resumed in epoch {at.Epoch}, after step {at.Step}", line);
    }

    /// <summary>The processes that a sweep has started end in order with it, and go on where they were.</summary>
    [Fact]
    public void EndedSweep_SavesItsTrainings()
    {
        var run = Path.Combine(folder, "sweep");
        string[] words =
        [
            "depth-sweep", "--dataset", "synthetic", "--limit", "2000", "--batch", "10", "--depths", "2", "--planes", "4", "--solvers",
            "euler", "--reconstructions", "adaptive", "--epochs", "1", "--seeds", "1,2", "--jobs", "2", "--quiet", "--out", run,
        ];
        using var running = new Running(Executable.StartWithSignals([.. words, "--save-steps", "1"]));
        string[] Checkpoints() => Directory.Exists(run) ? Directory.GetFiles(run, "checkpoint.bin", SearchOption.AllDirectories) : [];
        Until(running.Process, () => Checkpoints().Length == 2);
        Signal(running.Process, "TERM");
        Assert.Equal(143, running.Process.ExitCode);
        Assert.All(Checkpoints(), path => Assert.True(Saved(Path.GetDirectoryName(path)!) is { Epoch: 1, Step: > 0 }));
    }

    private static string Checkpoint(string run) => Path.Combine(run, "checkpoint.bin");

    private static void Finish(string[] words)
    {
        var (code, _, error) = Executable.Run(words);
        Assert.True(code == 0, error);
    }

    private static void Until(Process process, Func<bool> holds)
    {
        var clock = Stopwatch.StartNew();
        while (!holds())
        {
            Assert.False(process.WaitForExit(1), "ended by itself");
            Assert.True(clock.Elapsed < TimeSpan.FromMinutes(2));
        }
    }

    private static void Signal(Process process, string signal)
    {
        Process.Start("kill", [$"-{signal}", $"{process.Id}"]).WaitForExit();
        process.WaitForExit();
    }

    // Epoch and step that a checkpoint holds; the step after the last epoch is 0.
    private static (int Epoch, int Step)? Saved(string run)
    {
        if (!File.Exists(Checkpoint(run)))
        {
            return null;
        }

        var header = RunContents.Read(run).Header;
        return header["Begun"] is { } begun
            ? ((int)begun["Epoch"]!, (int)begun["Steps"]!)
            : (header["History"]!.AsArray().Count + 1, 0);
    }
}
