using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

public sealed class BenchTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("bench").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Bench_GivesPointsAndSeries()
    {
        var rows = Run("--planes", "4", "--depths", "1,2", "--batch", "16", "--methods", "torchsharp-backprop,adaptive");
        Assert.Equal(6, rows.Count);
        Assert.All(rows, row => Assert.All(
            ["network", "planes", "depth", "method", "step_seconds", "step_seconds_q25", "step_seconds_q75", "ratio_to_backprop", "evaluations_per_layer", "gflops", "share_of_peak", "peak_bytes", "bytes_per_layer", "time_exponent"],
            key => Assert.True(row.TryGetProperty(key, out _), key)));
        var points = rows.Where(row => row.GetProperty("depth").ValueKind == JsonValueKind.Number).ToList();
        Assert.Equal(4, points.Count);
        Assert.All(points, row => Assert.True(row.GetProperty("peak_bytes").GetInt64() > 0));
        Assert.All(points.Where(row => Method(row) == "torchsharp-backprop"), row => Assert.Equal(1, row.GetProperty("ratio_to_backprop").GetDouble()));
        Assert.All(["bench.csv", "config.json", "bench-tiny-4.png", "bench-tiny-4.svg"], name => Assert.True(new FileInfo(Path.Combine(folder, "run", name)).Length > 0));
    }

    /// <summary>
    /// What stores states or runs them again differs from autograd by rounding alone: N k u, with N at most 3 layers and ends,
    /// k = 1600 terms of a batch normalization's sum, u = 1.1e-16, is 5e-13; the bound is under 10 times that.
    /// </summary>
    [Theory]
    [InlineData("tiny", "euler", "torchsharp-channels-last,torchsharp-checkpoint,backprop,checkpoint")]
    [InlineData("tiny", "heun", "torchsharp-channels-last,torchsharp-checkpoint,backprop,checkpoint")]
    [InlineData("bottleneck", "euler", "torchsharp-channels-last,torchsharp-checkpoint,backprop,checkpoint")]
    [InlineData("linear", "euler", "torchsharp-checkpoint,backprop,checkpoint")]
    [InlineData("linear", "heun", "torchsharp-checkpoint,backprop,checkpoint")]
    public void Gradients_OfExactMethodsAreAutograds(string network, string solver, string methods)
    {
        var rows = Run("--network", network, "--solver", solver, "--planes", "8", "--depths", "3", "--batch", "16", "--methods", methods, "--gradients", "--no-memory");
        Assert.Equal(methods.Split(',').Length, rows.Count);
        Assert.All(rows, row => Assert.True(row.GetProperty("gradient_error").GetDouble() < 4e-12, row.ToString()));
        Assert.All(rows, row => Assert.Equal(JsonValueKind.Null, row.GetProperty("ratio_to_backprop").ValueKind));
    }

    [Theory]
    [InlineData("did you mean torchsharp-backprop?", "--methods", "torchsharp-backprob")]
    [InlineData("have no channels", "--network", "linear", "--methods", "torchsharp-channels-last")]
    [InlineData("nothing to resume", "--resume")]
    public void WrongUsage_IsOneLine(string message, params string[] arguments)
    {
        var (code, output, error) = Executable.Run(["bench", .. arguments]);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
    }

    private static string Method(JsonElement row) => row.GetProperty("method").GetString()!;

    private List<JsonElement> Run(params string[] arguments)
    {
        var network = arguments.Contains("--network") ? Array.Empty<string>() : ["--network", "tiny"];
        var (code, rows, error) = Executable.RunRows(["bench", .. network, .. arguments, "--repetitions", "2", "--json", "--out", Path.Combine(folder, "run")]);
        Assert.True(code == 0, error);
        return rows;
    }
}
