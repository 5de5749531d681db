using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>What a training does beside SGD: each option changes what it should, goes on as it began, or is refused.</summary>
public sealed class TrainerOptionTests : IDisposable
{
    private static readonly string[] Tiny =
        ["train", "--depth", "2", "--planes", "2", "--dataset", "synthetic", "--limit", "60", "--batch", "15", "--schedule", "constant"];

    private static readonly string[] All =
    [
        "--optimizer", "adamw", "--lr", "1e-3", "--clip", "0.5", "--accumulate", "2", "--ema", "0.9", "--label-smoothing", "0.1",
        "--mixup", "0.3", "--validation", "0.3", "--patience", "5", "--drop-last",
    ];

    private readonly string folder = Directory.CreateTempSubdirectory("trainer").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void EachOption_ChangesTheRun()
    {
        string[] changes =
        [
            "--optimizer=adamw", "--clip=0.01", "--accumulate=3", "--ema=0.9", "--label-smoothing=0.3", "--mixup=1",
            "--freeze-norms=true", "--validation=0.5", "--schedule=warmup:3steps+constant", "--schedule=cosine@step",
        ];
        List<List<string>> losses = [Losses(Train("without", "--epochs", "1"))];
        foreach (var (i, change) in changes.Index())
        {
            var words = change.StartsWith("--schedule", StringComparison.Ordinal) ? Tiny[..^2] : Tiny;
            losses.Add(Losses(Start([.. words, "--epochs", "1", change], $"with-{i}")));
        }

        Assert.Equal(losses.Count, losses.DistinctBy(own => own[0]).Count());
    }

    /// <summary>In two starts the same digits as in one, and files of the best network.</summary>
    [Fact]
    public void Resume_GoesOnWithAllOfThem()
    {
        var straight = Train("straight", [.. All, "--epochs", "3"]);
        Train("parts", [.. All, "--epochs", "1"]);
        var parts = Train("parts", [.. All, "--epochs", "3", "--resume"]);
        Assert.Equal(Losses(straight), Losses(parts));
        foreach (var run in new[] { straight, parts })
        {
            Assert.StartsWith("ResNetNodes checkpoint ", File.ReadLines(Path.Combine(run, "best.bin")).First());
            Assert.Contains("best.bin", File.ReadAllLines(Path.Combine(run, "files.txt")));
        }
    }

    [Fact]
    public void Resume_WithAnotherIsRefused()
    {
        Train("run", [.. All, "--epochs", "1"]);
        (string, string)[] others =
        [
            ("--optimizer", "sgd"), ("--clip", "0.6"), ("--accumulate", "3"), ("--ema", "0.8"), ("--label-smoothing", "0.2"),
            ("--mixup", "0.4"), ("--freeze-norms", "true"), ("--validation", "0.4"), ("--patience", "6"),
        ];
        foreach (var (option, value) in others)
        {
            var words = All.ToList();
            if (words.IndexOf(option) is >= 0 and var at)
            {
                words.RemoveRange(at, 2);
            }

            var (code, _, error) = Executable.Run(
                [.. Tiny, .. words, "--epochs", "2", "--resume", $"{option}={value}", "--out", Path.Combine(folder, "run")]);
            Assert.Equal(2, code);
            Assert.Contains($"{option} is {value}, but the run in", error);
        }
    }

    [Theory]
    [InlineData("--patience needs --validation", "--patience", "2")]
    [InlineData("--momentum is 0.5, but --optimizer adamw has none", "--optimizer", "adamw", "--momentum", "0.5")]
    [InlineData("expected a number above 0 and below 1: some images have to be trained with", "--validation", "1")]
    public void WhatMeansNothing_IsRefused(string message, params string[] words)
    {
        var (code, _, error) = Executable.Run([.. Tiny, .. words, "--out", Path.Combine(folder, "no")]);
        Assert.Equal(2, code);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
        Assert.False(Path.Exists(Path.Combine(folder, "no")));
    }

    [Fact]
    public void Patience_EndsTheRun()
    {
        var place = Path.Combine(folder, "patient");
        // Nothing is learned at such a rate: the first epoch stays the best.
        var (code, _, error) = Executable.Run(
            [.. Tiny, "--lr", "1e-30", "--freeze-norms", "--validation", "0.5", "--patience", "2", "--epochs", "9", "--out", place]);
        Assert.True(code == 0, error);
        Assert.Equal(1 + 3, File.ReadLines(Path.Combine(place, "metrics.csv")).Count());
        Assert.Contains("patience is over; the best of 3 epochs is 1, with validation accuracy", error);
    }

    private static List<string> Losses(string run) =>
        [.. File.ReadLines(Path.Combine(run, "metrics.csv")).Skip(1).Select(row => string.Join(',', row.Split(',')[1..6]))];

    private string Train(string name, params string[] words) => Start([.. Tiny, .. words], name);

    private string Start(string[] words, string name)
    {
        var place = Path.Combine(folder, name);
        var (code, _, error) = Executable.Run([.. words, "--out", place]);
        Assert.True(code == 0, error);
        return place;
    }
}
