using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

public sealed class BenchTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("bench").FullName;

    /// <summary>Every solver that the help lists, on every network: the baseline takes the solver's own steps.</summary>
    public static TheoryData<string, string> NetworksAndSolvers()
    {
        var solvers = Regex.Match(Help.Of("bench"), @"--solver (\S+)").Groups[1].Value.Split('|');
        var data = new TheoryData<string, string>();
        foreach (var (network, solver) in new[] { "tiny", "bottleneck", "linear" }.SelectMany(n => solvers.Select(s => (n, s))))
        {
            data.Add(network, solver);
        }

        return data;
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Bench_GivesPointsAndSeries()
    {
        var rows = Run("--planes", "4", "--depths", "1,2", "--batch", "16", "--methods", "torchsharp-backprop,adaptive");
        Assert.Equal(6, rows.Count);
        Assert.All(rows, row => Assert.All(
            [
                "network", "planes", "depth", "method", "train_steps", "step_seconds", "step_seconds_q25", "step_seconds_q75",
                "stage_seconds", "ratio_to_backprop", "evaluations_per_layer", "nominal_gflops", "nominal_share_of_peak",
                "overhead_share", "peak_bytes", "bytes_per_layer", "time_exponent", "stage_exponent",
            ],
            key => Assert.True(row.TryGetProperty(key, out _), key)));
        var points = Points(rows);
        Assert.Equal(4, points.Count);
        Assert.All(points, row => Assert.True(row.GetProperty("peak_bytes").GetInt64() > 0));
        Assert.All(
            points,
            row => Assert.Equal(Method(row) == "adaptive", row.GetProperty("overhead_share").ValueKind == JsonValueKind.Number));
        Assert.All(
            points.Where(row => Method(row) == "adaptive"),
            row => Assert.InRange(row.GetProperty("overhead_share").GetDouble(), 0, 1));
        Assert.All(
            points.Where(row => Method(row) == "torchsharp-backprop"),
            row => Assert.Equal(1, row.GetProperty("ratio_to_backprop").GetDouble()));
        Assert.All(
            ["bench.csv", "config.json", "machine.json", "summary.json", "bench-tiny-4.png", "bench-tiny-4.svg"],
            name => Assert.True(new FileInfo(At(name)).Length > 0));
    }

    /// <summary>In parts: the same rows again, then those of another depth and training added, all of them on the page.</summary>
    [Fact]
    public void Resume_KeepsWhatIsMeasured_AndAddsTheRest()
    {
        var page = Path.Combine(folder, "docs", "speed.md");
        string[] common =
            ["--planes", "4", "--batch", "16", "--methods", "torchsharp-backprop,corrected:2", "--no-memory", "--threads", "1"];
        var first = Run([.. common, "--depths", "2"]);
        var table = File.ReadAllText(At("bench.csv"));
        Assert.Equal(first.Select(Text), Run([.. common, "--depths", "2", "--resume"]).Select(Text));
        Assert.Equal(table, File.ReadAllText(At("bench.csv")));

        var more = Run([.. common, "--depths", "1,2", "--train-steps", "0,2", "--epoch", "synthetic", "--resume", "--page", page]);
        var points = Points(more);
        Assert.Equal([0, 0, 0, 0, 2, 2, 2, 2], points.Select(row => row.GetProperty("train_steps").GetInt32()));
        Assert.Equal(
            first.Select(Text),
            points.Where(row => row.GetProperty("train_steps").GetInt32() == 0 && row.GetProperty("depth").GetInt32() == 2).Select(Text));
        var epochs = more.Where(row => row.TryGetProperty("dataset", out _)).ToList();
        Assert.Equal([16, 64], epochs.Select(row => row.GetProperty("depth").GetInt32()));
        foreach (var epoch in epochs)
        {
            Assert.InRange(
                epoch.GetProperty("stage_share").GetDouble() + epoch.GetProperty("optimizer_share").GetDouble(),
                0, epoch.GetProperty("step_share").GetDouble());
            Assert.InRange(epoch.GetProperty("step_share").GetDouble() + epoch.GetProperty("waited_share").GetDouble(), 0, 1);
        }

        Assert.Equal(1 + 8 + 4, File.ReadAllLines(At("bench.csv")).Length);

        var text = File.ReadAllText(page);
        Assert.All(points, row => Assert.Contains(
            $"| {row.GetProperty("depth").GetInt32()} | `{Method(row)}` | "
            + $"{row.GetProperty("ratio_to_backprop").GetDouble().ToString("0.000", CultureInfo.InvariantCulture)} |",
            text));
        Assert.All(
            ["--depths 1,2 --train-steps 0,2", "### After 2 training steps", "LibTorch 2.", "kernel path", "| synthetic |"],
            part => Assert.Contains(part, text));
        var links = Regex.Matches(text, @"\]\(([^)]+)\)")
            .Select(m => Path.Combine(Path.GetDirectoryName(page)!, m.Groups[1].Value)).ToList();
        Assert.Equal(3, links.Count);
        Assert.All(links, link => Assert.True(File.Exists(link) || Directory.Exists(link), link));
        Assert.All(
            ["bench.csv", "epochs.csv", "machine.json"],
            name => Assert.Equal(File.ReadAllText(At(name)), File.ReadAllText(Path.Combine(links.Single(Directory.Exists), name))));

        // Another number of threads: what is there can be shown again, nothing can be measured beside it.
        string[] threads = [.. common[..^1], "2", "--resume", "--page", page];
        Run([.. threads, "--depths", "1,2", "--train-steps", "0,2"]);
        Assert.Equal(text, File.ReadAllText(page));
        var (code, _, error) = Executable.Run(
            ["bench", "--network", "tiny", "--repetitions", "2", .. threads, "--depths", "3", "--out", At()]);
        Assert.Equal(1, code);
        Assert.Contains("was measured with threads 1, here it is 2", error.Trim().Split('\n')[^1]);

        var (reported, rows, complaint) = Executable.RunRows(["report", "--in", At(), "--out", Path.Combine(folder, "report"), "--json"]);
        Assert.True(reported == 0, complaint);
        Assert.Contains(
            rows,
            row => row.GetProperty("verb").GetString() == "bench"
                && row.GetProperty("claim").GetString()!.StartsWith("An epoch", StringComparison.Ordinal));
    }

    [Fact]
    public void Help_ListsTheKeysOfRows()
    {
        var help = Executable.Run("help", "bench").Out;
        Assert.All(
            [
                "network, planes, depth, method, train_steps", "step_seconds, step_seconds_q25", "ratio_to_backprop", "peak_bytes",
                "dataset, depth, seconds, step_share",
            ],
            keys => Assert.Contains(keys, help));
    }

    /// <summary>
    /// What stores states or runs them again differs from autograd by rounding alone: N k u, with N at most 3 layers and ends,
    /// k = 1600 terms of a batch normalization's sum, u = 1.1e-16, is 5e-13; the bound is under 10 times that.
    /// </summary>
    [Theory]
    [MemberData(nameof(NetworksAndSolvers))]
    public void Gradients_OfExactMethodsAreAutograds(string network, string solver)
    {
        var methods = (network == "linear" ? string.Empty : "torchsharp-channels-last,") + "torchsharp-checkpoint,backprop,checkpoint";
        string[] words =
            ["--network", network, "--solver", solver, "--planes", "8", "--depths", "3", "--batch", "16", "--methods", methods];
        var rows = Run([.. words, "--gradients", "--no-memory"]);
        Assert.Equal(methods.Split(',').Length, rows.Count);
        Assert.All(rows, row => Assert.True(row.GetProperty("gradient_error").GetDouble() < 4e-12, row.ToString()));
        Assert.All(rows, row => Assert.Equal(JsonValueKind.Null, row.GetProperty("ratio_to_backprop").ValueKind));
    }

    [Theory]
    [InlineData("did you mean torchsharp-backprop?", "--methods", "torchsharp-backprob")]
    [InlineData("have no channels", "--network", "linear", "--methods", "torchsharp-channels-last")]
    [InlineData("ends with .md", "--page", "speed.html")]
    [InlineData("did you mean synthetic?", "--epoch", "syntetic")]
    [InlineData("--train-steps is -1", "--train-steps", "0,-1")]
    public void WrongUsage_IsOneLine(string message, params string[] arguments)
    {
        var (code, output, error) = Executable.Run(["bench", .. arguments]);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
    }

    private static string Method(JsonElement row) => row.GetProperty("method").GetString()!;

    private static string Text(JsonElement row) => row.GetRawText();

    private static List<JsonElement> Points(List<JsonElement> rows) =>
        [.. rows.Where(row => row.TryGetProperty("step_seconds", out var seconds) && seconds.ValueKind == JsonValueKind.Number)];

    private string At(string name = "") => Path.Combine(folder, "run", name);

    private List<JsonElement> Run(params string[] arguments)
    {
        var network = arguments.Contains("--network") ? Array.Empty<string>() : ["--network", "tiny"];
        var (code, rows, error) = Executable.RunRows(["bench", .. network, .. arguments, "--repetitions", "2", "--json", "--out", At()]);
        Assert.True(code == 0, error);
        return rows;
    }
}
