using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The rate that lr-find suggests, and what it refuses.</summary>
public sealed class FindRateTests : IDisposable
{
    private static readonly string[] Network = ["--depth", "2", "--planes", "4", "--limit", "2000", "--batch", "50"];

    private readonly string folder = Directory.CreateTempSubdirectory("rates").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>A training learns more at the rate suggested than at a hundredth of it, and than at a hundred times as much.</summary>
    [Theory]
    [InlineData("sgd")]
    [InlineData("adamw")]
    public void SuggestedRate_Trains(string optimizer)
    {
        var suggested = Found("found", "--optimizer", optimizer).GetProperty("suggested").GetDouble();
        double Loss(double factor)
        {
            var (code, rows, error) = Executable.RunRows(
                ["train", .. Network, "--optimizer", optimizer, "--epochs", "2", "--lr", $"{factor * suggested:R}", "--json", "-q",
                "--out", Path.Combine(folder, $"at-{factor}")]);
            const int diverged = 3;
            Assert.True(code is 0 or diverged, error);
            return code == diverged ? double.PositiveInfinity : rows[^1].GetProperty("train_loss").GetDouble();
        }

        var own = Loss(1);
        Assert.True(own < 0.8 * Loss(0.01), $"{own}");
        Assert.True(own < 0.8 * Loss(100), $"{own}");
    }

    /// <summary>At rates at which nothing is learned, none is suggested.</summary>
    [Fact]
    public void WithoutAFall_NothingIsSuggested()
    {
        var (code, output, error) = Executable.Run(
            ["lr-find", .. Network, "--lr-from", "1e-12", "--lr-to", "1e-9", "--steps", "30", "--out", Path.Combine(folder, "flat")]);
        Assert.Equal(0, code);
        Assert.Matches(@"
 +- +\S+ +-
", output);
        Assert.Contains("a learning rate can be suggested: can't be decided: the loss nowhere falls", error);
    }

    /// <summary>The same seed gives the same losses, and --resume reads them back.</summary>
    [Fact]
    public void Losses_AreThoseOfTheSeed()
    {
        var (one, other) = (Found("one"), Found("other"));
        Assert.Equal(Table("one"), Table("other"));
        Assert.Equal(one.ToString(), other.ToString());
        Found("one", "--resume");
        Assert.Equal(Table("one"), Table("other"));
        Found("another", "--seed", "2");
        Assert.NotEqual(Table("one"), Table("another"));
        Assert.True(File.Exists(Path.Combine(folder, "one", "losses.svg")));
    }

    [Theory]
    [InlineData("--lr-from is 1, expected less than --lr-to, which is 1", "--lr-from", "1", "--lr-to", "1")]
    [InlineData("--steps is 9, expected a whole number from 10", "--steps", "9")]
    [InlineData("--momentum is 0.5, but --optimizer adamw has none", "--optimizer", "adamw", "--momentum", "0.5")]
    [InlineData("--size is 34, but --network tiny has a --depth", "--size", "34")]
    [InlineData("lr-find has no option --lr", "--lr", "0.1")]
    [InlineData("lr-find has no option --schedule", "--schedule", "cosine")]
    public void WrongOptions_AreRefusedInOneLine(string message, params string[] words)
    {
        var path = Path.Combine(folder, "refused");
        var (code, output, error) = Executable.Run(["lr-find", "--dataset", "synthetic", .. words, "--out", path]);
        Assert.Equal((2, string.Empty), (code, output));
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
        Assert.False(Directory.Exists(path));
    }

    private JsonElement Found(string name, params string[] words)
    {
        var (code, rows, error) =
            Executable.RunRows(["lr-find", .. Network, .. words, "--json", "-q", "--out", Path.Combine(folder, name)]);
        Assert.True(code == 0, error);
        return rows[^1];
    }

    private string Table(string name) => File.ReadAllText(Path.Combine(folder, name, "losses.csv"));
}
