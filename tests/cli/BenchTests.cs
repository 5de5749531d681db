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
                "step_seconds_fastest", "step_seconds_slowest", "precision", "parameters", "forward_gflop",
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
        Assert.All(points, row => Assert.InRange(
            row.GetProperty("step_seconds").GetDouble(),
            row.GetProperty("step_seconds_fastest").GetDouble(), row.GetProperty("step_seconds_slowest").GetDouble()));
        Assert.All(
            ["bench.csv", "config.json", "machine.json", "summary.json", "bench-tiny-4-batch-16.png", "bench-tiny-4-batch-16.svg"],
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
        Assert.All(links, link => Assert.True(File.Exists(link), link));
        var data = Path.GetDirectoryName(links.Single(link => link.EndsWith("bench.csv", StringComparison.Ordinal)))!;
        Assert.All(
            ["bench.csv", "epochs.csv", "machine.json"],
            name => Assert.Equal(File.ReadAllText(At(name)), File.ReadAllText(Path.Combine(data, name))));

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

    /// <summary>Whole networks have no depth, and nothing of it is shown; of others' precisions, the peers have no row.</summary>
    [Fact]
    public void NetworksOfFourStages_AreShownWithoutDepths()
    {
        var page = Path.Combine(folder, "whole.md");
        var rows = Run(
            "--network", "ode,tied", "--size", "18,custom:2+1+2+1", "--planes", "2", "--image", "16", "--batch", "4", "--classes", "7",
            "--precision", "float32,bfloat16", "--methods", "torchsharp-backprop,callback-inverse,adaptive", "--train-steps", "1",
            "--page", page);
        Assert.Equal(rows.Count, Points(rows).Count);
        Assert.Equal(
            from network in new[] { "ode", "tied" }
            from precision in new[] { "float32", "bfloat16" }
            from size in new[] { "18", "custom:2+1+2+1" }
            from method in precision == "float32" ? ["torchsharp-backprop", "callback-inverse", "adaptive"] : new[] { "adaptive" }
            select (network, size, precision, method),
            rows.Select(row => (
                row.GetProperty("network").GetString()!, row.GetProperty("size").GetString()!, row.GetProperty("precision").GetString()!,
                Method(row))));
        Assert.All(rows, row =>
        {
            Assert.Equal(
                (16, 7, 4, 2, 1),
                (row.GetProperty("image").GetInt32(), row.GetProperty("classes").GetInt32(), row.GetProperty("batch").GetInt32(),
                    row.GetProperty("planes").GetInt32(), row.GetProperty("train_steps").GetInt32()));
            Assert.True(row.GetProperty("step_bytes").GetInt64() > 0);
            Assert.All(
                ["depth", "overhead_share", "bytes_per_layer", "time_exponent"],
                key => Assert.Equal(JsonValueKind.Null, row.GetProperty(key).ValueKind));
        });
        var text = File.ReadAllText(page);
        Assert.Contains("## ODE ResNets, 2 planes, 7 classes, images 16×16, batch 4", text);
        Assert.Contains("| custom:2+1+2+1 | `adaptive` |", text);
        Assert.Contains("### After 1 training steps, bfloat16", text);
        Assert.All(["exponent |", "depth |", "| overhead", ".png"], part => Assert.DoesNotContain(part, text.Split("## What")[0]));
        Assert.Empty(Directory.EnumerateFiles(At(), "*.png"));
    }

    /// <summary>
    /// Numbers of parameters as published with PyTorch's torchvision for the same networks, and its GFLOPS, which count a
    /// multiplication and an addition as one.
    /// </summary>
    [Theory]
    [InlineData("18", 11_689_512, 1.814)]
    [InlineData("34", 21_797_672, 3.664)]
    [InlineData("50", 25_557_032, 4.089)]
    public void NetworksOfFourStages_AreThePublishedOnes(string size, long parameters, double gflops)
    {
        var row = Assert.Single(Run(
            "--network", "resnet", "--size", size, "--image", "224", "--batch", "2", "--methods", "backprop", "--no-memory"));
        Assert.Equal(parameters, row.GetProperty("parameters").GetInt64());
        Assert.Equal(gflops, row.GetProperty("forward_gflop").GetDouble() / 2 / 2, 0.002);
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
    /// k = 1600 terms of a batch normalization's sum, u = 1.1e-16, is 5e-13; the bound is under 10 times that. Networks of four
    /// stages: 15 functions, blocks and ends, k = 1024, is 1.7e-12.
    /// </summary>
    [Theory]
    [MemberData(nameof(NetworksAndSolvers))]
    [InlineData("resnet", "euler")]
    [InlineData("ode", "euler")]
    [InlineData("ode", "heun")]
    [InlineData("tied", "euler")]
    public void Gradients_OfExactMethodsAreAutograds(string network, string solver)
    {
        var methods = (network == "linear" ? string.Empty : "torchsharp-channels-last,") + "torchsharp-checkpoint,backprop,checkpoint";
        string[] length = network is "tiny" or "bottleneck" or "linear"
            ? ["--depths", "3", "--planes", "8"]
            : ["--size", "custom-basic:3+4+3+3", "--planes", "4", "--classes", "10", "--image", "8"];
        string[] words = ["--network", network, "--solver", solver, .. length, "--batch", "16", "--methods", methods];
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
    [InlineData("--size is 50, but --network has none of four stages", "--size", "50")]
    [InlineData("--image is 64, but --network has none of four stages", "--network", "tiny", "--image", "64")]
    [InlineData("--classes is 5, but --network has none that ends in scores", "--network", "linear", "--classes", "5")]
    [InlineData("--depths is 16, but --network has none of one stage", "--network", "ode", "--depths", "16")]
    [InlineData("--methods has no reconstruction", "--precision", "bfloat16", "--methods", "torchsharp-backprop")]
    [InlineData("--precision is float16", "--precision", "float32,float16")]
    [InlineData("--size is 152 and --planes 4096, 11 methods: the network needs", "--network", "ode", "--size", "152", "--planes", "4096")]
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
