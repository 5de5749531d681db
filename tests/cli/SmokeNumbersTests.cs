using System.Globalization;
using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The numbers of each verb at its preset smoke: in range, and in the order that the mathematics gives them.</summary>
public sealed class SmokeNumbersTests
{
    private static readonly Dictionary<string, Action<List<JsonElement>>> Checks = new()
    {
        ["train"] = Train,
        ["lr-find"] = FindRate,
        ["linear-weights"] = LinearWeights,
        ["tied"] = Tied,
        ["adjoint-failure"] = AdjointFailure,
        ["finetune"] = Finetune,
        ["depth-sweep"] = DepthSweep,
        ["compare-gradients"] = CompareGradients,
        ["gradient-errors"] = GradientErrors,
        ["memory"] = Memory,
        ["discretization"] = Discretization,
        ["bench"] = Bench,
    };

    public static TheoryData<string> Verbs() => [.. SmokeRuns.Verbs];

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Numbers_AreInRangeAndInOrder(string verb)
    {
        var run = SmokeRuns.Of(verb);
        Assert.True(run.Code == 0, run.Error);
        Assert.True(Checks.ContainsKey(verb), $"{verb} needs a check of its numbers: a row in {nameof(SmokeNumbersTests)}");
        // NaN and infinity would be texts in the rows of --json.
        var numbers = run.Rows.SelectMany(row => row.EnumerateObject()).Where(p => p.Value.ValueKind == JsonValueKind.Number).ToList();
        Assert.All(numbers, number => Assert.True(double.IsFinite(number.Value.GetDouble()), number.Name));
        IEnumerable<double> Named(string ending) =>
            numbers.Where(n => n.Name.EndsWith(ending, StringComparison.Ordinal)).Select(n => n.Value.GetDouble());
        Assert.All(Named("accuracy"), value => Assert.InRange(value, 0, 1));
        Assert.All(Named("loss"), value => Assert.InRange(value, 0, 100));
        // Of near-equal vectors, up to the rounding of sums in float64.
        Assert.All(Named("cosine"), value => Assert.InRange(value, -1, 1 + 1e-12));
        Checks[verb](run.Rows);
    }

    // Fresh networks of 10 classes: the loss is about ln 10 = 2.3.
    private static void Train(List<JsonElement> rows)
    {
        var row = Assert.Single(rows);
        Assert.InRange(Number(row, "train_loss"), 1, 4);
        Assert.InRange(Number(row, "stage_share") + Number(row, "optimizer_share"), 0, Number(row, "step_share"));
        Assert.InRange(Number(row, "reconstruction_error"), 0, 1e-3);
    }

    // Rates rise by a constant factor; the first steps, at next to none, see the loss of a fresh network.
    private static void FindRate(List<JsonElement> rows)
    {
        var steps = rows[..^1];
        var rates = steps.Select(row => Number(row, "learning_rate")).ToList();
        Assert.InRange(steps.Count, 10, 40);
        Assert.All(rates.Index(), rate => Assert.Equal(1, rate.Item / (1e-5 * Math.Pow(1e6, rate.Index / 39.0)), 9));
        Assert.InRange(Number(steps[0], "loss"), 1, 4);
        Assert.Contains(Number(rows[^1], "lowest"), rates);
        Assert.True(rows[^1].GetProperty("diverged_at").ValueKind == JsonValueKind.Null || Number(rows[^1], "diverged_at") > rates[^1]);
    }

    // All matrices are 0 at first; descent lowers the loss, weights grow, and neighbours stay near each other.
    private static void LinearWeights(List<JsonElement> rows)
    {
        var steps = rows.Where(row => row.TryGetProperty("smoothness", out _)).ToList();
        Assert.Equal([10, 20, 40, 80], steps.Select(row => Number(row, "depth")).Distinct());
        Assert.All(steps.Where(row => Number(row, "step") == 0), row => Assert.Equal(0, Number(row, "largest_weight")));
        foreach (var descent in steps.GroupBy(row => Number(row, "depth")))
        {
            Assert.True(Number(descent.Last(), "loss") < Number(descent.First(), "loss") / 100);
            Assert.All(descent, row => Assert.InRange(Number(row, "smoothness") / descent.Key, 0, Number(row, "largest_weight")));
        }

        // Four lines of 40 layers of one entry, each line smooth.
        var lines = rows.Where(row => row.TryGetProperty("layer", out _)).GroupBy(row => Number(row, "step")).ToList();
        Assert.All(lines, line => Assert.Equal(Enumerable.Range(0, 40).Select(n => (double)n), line.Select(row => Number(row, "layer"))));
        Assert.Equal(4, lines.Count);
    }

    private static void Tied(List<JsonElement> rows)
    {
        Assert.Equal(["adaptive", "backprop"], rows.Select(row => Text(row, "reconstruction")));
        Assert.All(rows, row => Assert.Equal(0, Number(row, "reconstruction_error")));
        Assert.InRange(Number(rows[0], "train_loss") - Number(rows[1], "train_loss"), -0.1, 0.1);
    }

    // The first step's loss is the same for all; what walks back better is nearer to the input. adaptive has kept it.
    private static void AdjointFailure(List<JsonElement> rows)
    {
        List<JsonElement> Of(string method) => [.. rows.Where(row => Text(row, "method") == method)];
        Assert.Equal(12, rows.Count);
        Assert.Single(rows.Where(row => Number(row, "step") == 1).Select(row => Number(row, "loss")).Distinct());
        double Error(string method) => Of(method).Max(row => Number(row, "reconstruction_error"));
        Assert.Equal(0, Error("backprop"));
        Assert.True(Error("inverse") > Error("corrected") && Error("corrected") > 0);
        Assert.Equal(0, Error("adaptive"));
        double Evaluations(string method) => Of(method).Average(row => Number(row, "evaluations_per_layer"));
        Assert.Equal((0, 2, 2), (Evaluations("backprop"), Evaluations("inverse"), Evaluations("corrected")));
        // The comparison of gradients before the first step finds out, all steps know: they keep states, and spend no more than corrected.
        Assert.All(Of("adaptive"), row => Assert.InRange(Number(row, "evaluations_per_layer"), 1, 2));
        Assert.All(Of("adaptive"), row => Assert.InRange(Number(row, "state_error"), 0, 1e-3));
        var kept = Of("adaptive").Select(row => Number(row, "kept_states")).ToList();
        Assert.True(kept[0] > 0);
        Assert.Equal(kept.Order(), kept);
    }

    // Untying changes nothing, and the adjoint's step is lighter than backprop's.
    private static void Finetune(List<JsonElement> rows)
    {
        JsonElement Row(string key, string value) => rows.First(row => row.TryGetProperty(key, out var v) && v.GetString() == value);
        Assert.Equal(Number(Row("network", "tied"), "test_accuracy"), Number(Row("network", "untied"), "test_accuracy"));
        Assert.Equal(Number(Row("network", "tied"), "test_loss"), Number(Row("network", "untied"), "test_loss"), 5);
        Assert.True(Number(Row("reconstruction", "adaptive"), "step_bytes") < Number(Row("reconstruction", "backprop"), "step_bytes"));
    }

    private static void DepthSweep(List<JsonElement> rows)
    {
        var points = rows.Select(row => (Text(row, "solver"), Text(row, "reconstruction"), Number(row, "depth"), Number(row, "seed")));
        Assert.Equal(8, points.Distinct().Count());
        Assert.All(rows, row => Assert.Equal(100 * (1 - Number(row, "best_test_accuracy")), Number(row, "test_error"), 9));
    }

    // Corrections come closer to backprop than the paper's inverse with Euler's solver; two of them closer than one with each.
    private static void CompareGradients(List<JsonElement> rows)
    {
        var whole = rows.Where(row => !row.TryGetProperty("parameter", out _)).ToList();
        Assert.Equal(20, whole.Count);
        foreach (var group in whole.GroupBy(row => (Solver: Text(row, "solver"), Depth: Number(row, "depth"))))
        {
            double Error(string method) => Number(group.Single(row => Text(row, "reconstruction") == method), "relative_error");
            Assert.InRange(Error("inverse"), 0, 1e-3);
            // Errors of steps from exact outputs do not add up.
            double StateError(string method) => Number(group.Single(row => Text(row, "reconstruction") == method), "state_error");
            Assert.InRange(StateError("inverse (exact outputs)"), 0, StateError("inverse"));
            Assert.True(group.Key.Solver != "euler" || Error("corrected") < Error("inverse"), $"{group.Key}");
            Assert.True(Error("corrected:2") < Error("corrected") && Error("corrected:2") < Error("inverse"), $"{group.Key}");
        }

        var parameters = rows.Where(row => row.TryGetProperty("parameter", out _)).ToList();
        Assert.All(parameters, row => Assert.Equal(Math.Pow(Number(row, "relative_error"), 2), Number(row, "squared_error"), 12));
    }

    // The default method is within 2 % of backprop from the first step on.
    private static void GradientErrors(List<JsonElement> rows)
    {
        Assert.Equal(
            [("TinyResNet 2", 0), ("TinyResNet 2", 2), ("TinyResNet 6", 0), ("TinyResNet 6", 2)],
            rows.Select(row => (Text(row, "network"), (int)Number(row, "step"))));
        Assert.All(rows, row => Assert.InRange(Number(row, "relative_error"), 0, 0.02));
        Assert.All(rows, row => Assert.InRange(Number(row, "state_error"), 0, 1e-3));
        Assert.All(rows, row => Assert.InRange(Number(row, "kept_states"), 1, 4));
    }

    // Bytes that a layer adds: none with the adjoint, the states and tapes with backprop.
    private static void Memory(List<JsonElement> rows)
    {
        foreach (var network in new[] { "tiny", "linear" })
        {
            double Slope(string method) => Number(
                rows.Single(row => Text(row, "network") == network && Text(row, "reconstruction") == method && IsNull(row, "depth")),
                "bytes_per_layer");
            Assert.True(Slope("adaptive") < Slope("backprop") / 10, $"{network}: {Slope("adaptive")} and {Slope("backprop")}");
        }

        // Linear: a state of 500 × 500 floats a layer.
        var linear = rows.Where(row => Text(row, "network") == "linear" && IsNull(row, "depth"));
        Assert.InRange(linear.Max(row => Number(row, "bytes_per_layer")), 5e5, 2e6);
        Assert.All(
            rows.Where(row => !IsNull(row, "depth")),
            row => Assert.InRange(Number(row, "step_bytes"), 1, Number(row, "peak_bytes")));
    }

    // Tied: O(1/N) for the inverse, one order more for the corrected state. Weights of each block's own: half an order more each.
    private static void Discretization(List<JsonElement> rows)
    {
        foreach (var (network, gained) in new[] { ("tied", 0.0), ("ode", 0.5) })
        {
            IEnumerable<JsonElement> Of(string method, bool fit) => rows.Where(row =>
                Text(row, "network") == network && Text(row, "reconstruction") == method && IsNull(row, "depth") == fit);
            double[] Errors(string method) => [.. Of(method, fit: false).Select(row => Number(row, "relative_error"))];
            double Exponent(string method) => Number(Of(method, fit: true).Single(), "exponent") + gained;
            Assert.Equal(Errors("inverse").OrderDescending(), Errors("inverse"));
            Assert.Equal(Errors("corrected").OrderDescending(), Errors("corrected"));
            // One function is too large a step for either.
            Assert.All(Errors("inverse").Zip(Errors("corrected")).Skip(1), pair => Assert.True(pair.Second < pair.First));
            Assert.InRange(Exponent("inverse"), -1.15, -0.85);
            Assert.InRange(Exponent("corrected"), -2.15, -1.85);
            foreach (var method in new[] { "inverse", "corrected" })
            {
                AssertIsFitOf(Of(method, fit: false), Of(method, fit: true).Single());
            }
        }
    }

    // Least squares by the normal equations, over the blocks from 16 on, in the number of functions; and what the run says of it, with
    // Student's t of one degree of freedom: 12.706 for 95 %.
    private static void AssertIsFitOf(IEnumerable<JsonElement> points, JsonElement fit)
    {
        var fitted = points.Where(row => Number(row, "depth") >= 16)
            .Select(row => (X: Math.Log(Number(row, "depth") - 1), Y: Math.Log(Number(row, "relative_error")))).ToList();
        Assert.Equal(3, fitted.Count);
        var (n, x, y) = (fitted.Count, fitted.Sum(p => p.X), fitted.Sum(p => p.Y));
        var (xx, xy) = (fitted.Sum(p => p.X * p.X), fitted.Sum(p => p.X * p.Y));
        var determinant = (n * xx) - (x * x);
        var (slope, offset) = (((n * xy) - (x * y)) / determinant, ((xx * y) - (x * xy)) / determinant);
        var error = Math.Sqrt(fitted.Sum(p => Math.Pow(p.Y - offset - (slope * p.X), 2)) * n / determinant);
        Assert.Equal(slope, Number(fit, "exponent"), 9);
        Assert.Equal(error, Number(fit, "standard_error"), 9);
        var said = string.Create(CultureInfo.InvariantCulture, $"as N to the power {slope:0.00} ± {12.7062 * error:0.00}");
        var summary = Path.Combine(SmokeRuns.Of("discretization").Folder, "summary.json");
        Assert.Contains(said, File.ReadAllText(summary), StringComparison.Ordinal);
    }

    private static void Bench(List<JsonElement> rows)
    {
        var points = rows.Where(row => !IsNull(row, "depth")).ToList();
        Assert.Equal(6, points.Count);
        Assert.All(points, row => Assert.InRange(
            Number(row, "step_seconds"), Number(row, "step_seconds_q25"), Number(row, "step_seconds_q75")));
        var reference = points.Where(row => Text(row, "method") == "torchsharp-backprop");
        Assert.All(reference, row => Assert.Equal(1, Number(row, "ratio_to_backprop")));
        Assert.All(points, row => Assert.InRange(Number(row, "step_bytes"), 1, Number(row, "peak_bytes")));
        var adaptive = points.Where(row => Text(row, "method") == "adaptive");
        Assert.All(adaptive, row => Assert.InRange(Number(row, "evaluations_per_layer"), 1, 10));
    }

    private static double Number(JsonElement row, string key) => row.GetProperty(key).GetDouble();

    private static string Text(JsonElement row, string key) => row.GetProperty(key).GetString()!;

    private static bool IsNull(JsonElement row, string key) =>
        !row.TryGetProperty(key, out var value) || value.ValueKind == JsonValueKind.Null;
}
