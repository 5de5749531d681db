using System.Globalization;
using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>What runs over several seeds say: intervals by Student's t, here in its closed form, and divergence as a result.</summary>
public sealed class StatementTests : IDisposable
{
    // The quantile of 97.5 % at one degree of freedom: tan(0.475 π).
    private const double OneDegree = 12.7062047;

    private readonly string folder = Directory.CreateTempSubdirectory("statements").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>Losses are compared seed by seed; how many runs go on at a time changes nothing.</summary>
    [Fact]
    public void AdjointFailure_TellsTheIntervalOfItsSeeds()
    {
        string[] words = ["--methods", "backprop,inverse", "--seeds", "3,7", "--threads", "1"];
        var one = SmokeRuns.Start("adjoint-failure", At("one"), words);
        var two = SmokeRuns.Start("adjoint-failure", At("two"), [.. words, "--jobs", "2"]);
        Assert.True(one.Code == 0, one.Error);
        Assert.True(two.Code == 0, two.Error);
        Assert.Equal(File.ReadAllText(Path.Combine(At("one"), "steps.csv")), File.ReadAllText(Path.Combine(At("two"), "steps.csv")));
        Assert.Equal(Measured(At("one")), Measured(At("two")));

        double Loss(string method, int seed) => one.Rows.Last(row =>
            row.GetProperty("method").GetString() == method && row.GetProperty("seed").GetInt32() == seed).GetProperty("loss").GetDouble();
        double Excess(int seed) => 100 * ((Loss("inverse", seed) / Loss("backprop", seed)) - 1);
        // Of two values, the standard deviation is their difference by √2, and the error of the mean half of the difference.
        var (mean, half) = ((Excess(3) + Excess(7)) / 2, OneDegree * Math.Abs(Excess(3) - Excess(7)) / 2);
        var said = string.Create(CultureInfo.InvariantCulture, $"{mean:+0.0;-0.0} ± {half:0.0} %");
        Assert.Contains(Measured(At("one")), text => text.Contains(said, StringComparison.Ordinal));
    }

    /// <summary>Every tenth step has the gradient's error: none for backprop, more for the paper's adjoint than for ours.</summary>
    [Fact]
    public void AdjointFailure_ComparesGradientsEveryTenthStep()
    {
        var run = SmokeRuns.Start("adjoint-failure", At("a"), "--steps", "11", "--methods", "backprop,inverse,adaptive");
        Assert.True(run.Code == 0, run.Error);
        double[] Errors(string method) =>
        [
            .. run.Rows.Where(row => row.GetProperty("method").GetString() == method)
                .Where(row => row.GetProperty("gradient_error").ValueKind == JsonValueKind.Number)
                .Select(row => row.GetProperty("gradient_error").GetDouble()),
        ];
        Assert.Equal([0.0, 0.0], Errors("backprop"));
        Assert.All(Errors("adaptive"), error => Assert.InRange(error, 0, 0.02));
        Assert.Equal(2, Errors("inverse").Length);
        Assert.All(Errors("inverse").Zip(Errors("adaptive")), pair => Assert.True(pair.First > pair.Second));
    }

    /// <summary>Methods are compared seed by seed; of two differences, the error of the mean is half of how far they lie apart.</summary>
    [Fact]
    public void Tied_TellsTheIntervalOfItsSeeds()
    {
        var run = SmokeRuns.Start("tied", At("t"), "--seeds", "1,2", "--limit", "300", "--jobs", "2", "-r", "backprop,adaptive");
        Assert.True(run.Code == 0, run.Error);
        double Accuracy(string method, int seed) => 100 * run.Rows.Single(row =>
            row.GetProperty("reconstruction").GetString() == method && row.GetProperty("seed").GetInt32() == seed)
            .GetProperty("test_accuracy").GetDouble();
        double Gap(int seed) => Accuracy("adaptive", seed) - Accuracy("backprop", seed);
        var said = string.Create(
            CultureInfo.InvariantCulture,
            $"{(Gap(1) + Gap(2)) / 2:+0.0;-0.0} ± {OneDegree * Math.Abs(Gap(1) - Gap(2)) / 2:0.0} points");
        // What another seed does to a run: t by the standard deviation, which is the difference of two by √2.
        var other = OneDegree * Math.Abs(Accuracy("backprop", 1) - Accuracy("backprop", 2)) / Math.Sqrt(2);
        var measured = Assert.Single(Measured(At("t")));
        Assert.Contains(said, measured);
        Assert.EndsWith(string.Create(CultureInfo.InvariantCulture, $"another seed does ± {other:0.0}"), measured);
    }

    /// <summary>One network alone fails; in a comparison of methods, that it diverged is what was to be found out.</summary>
    [Fact]
    public void Divergence_IsAnErrorOfOneRun_AndAResultOfASweep()
    {
        string[] hot = ["--lr", "1e6", "--weight-decay", "1e3", "--epochs", "8"];
        var (code, _, error) = Executable.Run(["train", "--preset", "smoke", .. hot, "--out", At("alone")]);
        Assert.Equal(3, code);
        Assert.Contains("training diverged; use a learning rate below", error.Trim().Split('\n')[^1]);

        var sweep = SmokeRuns.Start("depth-sweep", At("sweep"), ["--depths", "2", "--solvers", "euler", "--scale-rate", .. hot]);
        Assert.True(sweep.Code == 0, sweep.Error);
        Assert.All(sweep.Rows, row =>
        {
            Assert.True(row.GetProperty("diverged").GetBoolean());
            Assert.Equal(90, row.GetProperty("test_error").GetDouble(), 9);
        });
        // Of one seed, nothing is known of what another does.
        Assert.All(Measured(At("sweep")), text => Assert.DoesNotContain("another seed", text));
    }

    private string At(string name) => Path.Combine(folder, name);

    private static List<string> Measured(string run)
    {
        using var summary = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "summary.json")));
        return [.. summary.RootElement.GetProperty("findings").EnumerateArray().Select(f => f.GetProperty("measured").GetString()!)];
    }
}
