using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>What the verb scaling measures and foresees, and that it needs several ranks.</summary>
public sealed class ScalingTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("scaling").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>Steps of each kind, sums, and the model of more ranks, in one run; drawn again without measuring.</summary>
    [Fact]
    public void Scaling_ComparesRanksWithOneAlone()
    {
        var run = Path.Combine(folder, "scaling");
        string[] words =
        [
            "scaling", "--depth", "2", "--planes", "4", "--batch", "8", "--threads", "1", "--timed-steps", "4", "--solver", "heun",
            "--reconstruction", "backprop", "--classes", "3", "--json", "--out", run,
        ];
        var (code, output, error) = Mpirun.Run(2, words);
        Assert.True(code == 0, error);
        Assert.DoesNotContain("had no effect", error);
        var rows = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonDocument.Parse(line).RootElement).ToList();
        IEnumerable<JsonElement> Of(string key) => rows.Where(row => row.TryGetProperty(key, out _));
        Assert.Equal(
            ["alone", "one image", "no sums", "sums after", "sums during"],
            Of("steps").Select(row => row.GetProperty("steps").GetString()));
        Assert.All(Of("steps"), row => Assert.InRange(row.GetProperty("step_seconds").GetDouble(), 1e-6, 60));
        Assert.Equal(2, Of("steps").Count(row => row.GetProperty("prediction_error").ValueKind == JsonValueKind.Number));
        // All gradients are in a bucket, and none in two.
        var (_, summary, _) =
            Executable.RunRows("summary", "--depth", "2", "--planes", "4", "--solver", "heun", "--classes", "3", "--json");
        var bytes = summary.Single(row => row.TryGetProperty("parameter_bytes", out _)).GetProperty("parameter_bytes").GetDouble();
        Assert.Equal(bytes, Assert.Single(Of("communication_seconds")).GetProperty("gradient_bytes").GetDouble());
        Assert.Equal(bytes, Of("bucket").Sum(row => row.GetProperty("bucket_bytes").GetDouble()));
        Assert.Equal(8, Of("sum_bytes").First().GetProperty("sum_bytes").GetInt64());
        Assert.Equal(25, Of("fastest_ranks").Count());
        var weak = Of("depth_factor").Where(row => row.GetProperty("scaling").GetString() == "weak").ToList();
        Assert.Equal(5 * 11, weak.Count);
        // To rounding: times are added up in another order.
        Assert.All(weak, row => Assert.InRange(row.GetProperty("efficiency").GetDouble(), 0, 1 + 1e-12));
        Assert.Equal(1024, weak.Max(row => row.GetProperty("ranks").GetInt32()));
        Assert.Equal(
            ["buckets.csv", "communication.csv", "limits.csv", "scaling.csv", "steps.csv", "sums.csv"],
            Directory.GetFiles(run, "*.csv").Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.True(File.Exists(Path.Combine(run, "scaling.svg")));

        var steps = File.ReadAllText(Path.Combine(run, "steps.csv"));
        Assert.Equal(0, Mpirun.Run(2, [.. words, "--resume"]).Code);
        Assert.Equal(steps, File.ReadAllText(Path.Combine(run, "steps.csv")));
    }

    [Fact]
    public void Scaling_NeedsSeveralRanks()
    {
        var (code, _, error) = Executable.Run("scaling", "--out", Path.Combine(folder, "alone"));
        Assert.Equal(2, code);
        Assert.Equal(
            "resnet-nodes: scaling compares several processes with one; start it by mpirun -n K, K at least 2", error.TrimEnd('\n'));
        Assert.False(Directory.Exists(Path.Combine(folder, "alone")));
    }
}
