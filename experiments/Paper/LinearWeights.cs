using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>A step of gradient descent: its loss, and how rough the weights are in depth.</summary>
internal sealed record SmoothnessRow(int Depth, int Step, double Loss, double Smoothness, double LargestWeight);

/// <summary>One entry of the weights of one layer at one step.</summary>
internal sealed record WeightRow(int Step, int Layer, int Row, int Column, double Weight);

/// <summary>The linear case: do weights stay smooth in depth?</summary>
[Verb("linear-weights", HelpText = "Weights of a deep linear ResNet under gradient descent: smooth in depth.")]
[Page(
    "Figure 2 of arXiv 2205.14612: (I + A_0/N) ... (I + A_{N-1}/N) is taught a matrix I + G; smoothness is max_n "
    + "N‖A_{n+1} − A_n‖ (section 3).",
    "resnet-nodes linear-weights --depth 100 --seed 6    (5 seconds)",
    "resnet-nodes linear-weights --preset smoke --json   (2 seconds)")]
[PaperRow("figure 2", order: 1)]
[JsonRows(typeof(SmoothnessRow), typeof(WeightRow))]
[Defaults("depth=100", "lr=100")]
[Meaning("depth", "Layers; smoothness is compared with that of a quarter, a half and twice of them.")]
[Meaning("lr", "Learning rate of gradient descent; in proportion to the layers.")]
[Preset("smoke", "depth=40", "steps=200", "lr=40", "seed=6")]
[Preset("small", "seed=6")]
[Preset("paper", "seed=6")]
internal sealed class LinearWeights : Experiment
{
    private const int Lines = 4;

    // How much doubling N may change what is bounded for all N.
    private const double Bounded = 0.1;

    [Option("dimension", Default = "2", MetaValue = "D", HelpText = "Rows and columns of the matrices.")]
    [Section("model")]
    public string Dimension { get => Given(); set => Set(value); }

    [Option("steps", Default = "10000", MetaValue = "N", HelpText = "Maximum number of steps.")]
    [Section("training")]
    public string Steps { get => Given(); set => Set(value); }

    [Option("tolerance", Default = "1e-5", MetaValue = "LOSS", HelpText =
        "Stop below this loss, checked every 100 steps.")]
    [Section("training")]
    public string Tolerance { get => Given(); set => Set(value); }

    public DepthGroup Depth { get; } = new();

    public RateGroup Rate { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    private sealed record Result(int Depth, double Determinant, List<SmoothnessRow> Smoothness, List<WeightRow> Weights);

    /// <summary>A descent, but for its depth and rate.</summary>
    private sealed record Setting(int Dimension, int Steps, double Tolerance, long Seed, Device Device);

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var (depth, rate) = (Depth.AtLeast(2), Rate.RateNumber);
        var setting = new Setting(
            Read.Whole("dimension", Dimension), Read.Whole("steps", Steps), Read.Number("tolerance", Tolerance), Seed.Number,
            Device.Value);
        // In float64; plain gradient descent has no momentum. The deepest network has twice the layers.
        MemoryNeed.RequireWeights(
            $"--depth is {depth} and --dimension {setting.Dimension}", 2.0 * 2 * depth * setting.Dimension * setting.Dimension, 0,
            new(setting.Device, 1, 0, 2), "a smaller --depth or --dimension");
        var folder = RunFolder.Open(this);
        // The theory bounds N‖A_{n+1} − A_n‖ for all N at once: doubling N says whether it grows. The rate goes with N, so that all
        // descend the same flow.
        var results = new[] { 0.25, 0.5, 1, 2 }.Select(factor => (int)Math.Max(2, factor * depth)).Distinct().Select(n => folder.Point(
            $"depth-{n}", () => Descend(setting, n, rate * n / depth, terminal, cancellation))).ToList();
        var result = results.Find(r => r.Depth == depth)!;
        List<SmoothnessRow> all = [.. results.SelectMany(r => r.Smoothness)];
        all.ForEach(terminal.Row);
        result.Weights.ForEach(terminal.Row);
        folder.WriteCsv("smoothness.csv", all);
        folder.WriteCsv("weights.csv", result.Weights);
        var (shown, last) = (Math.Max(1, result.Smoothness.Count / 10), result.Smoothness.Count - 1);
        terminal.Table([.. result.Smoothness.Where((_, i) => i % shown == 0 || i == last)]);
        var findings = Judge(results, result, setting.Tolerance);
        var lines = result.Weights.GroupBy(w => w.Step).Select((line, i) => new Series(
            $"Step: {line.Key}", [.. line.Select(w => (double)w.Layer)], [.. line.Select(w => w.Weight)], PaperFigure.ColourAt(i))
        {
            Marker = Marker.None,
        }).ToList();
        var title = $"Weights of a linear ResNet {(findings[0].Holds == true ? "stay smooth in depth" : "in depth")}";
        terminal.Say("figure: " + PaperFigure.Save(folder, "linear-weights", title, "Depth N", "Weight value", lines));
        Series[] Over(Func<SmoothnessRow, double> value) =>
        [
            .. results.Select((own, i) => new Series(
                $"N = {own.Depth}", [.. own.Smoothness.Select(r => (double)r.Step)], [.. own.Smoothness.Select(value)],
                PaperFigure.ColourAt(i))
            {
                Stroke = i % 2 == 0 ? Stroke.Solid : Stroke.Dashed,
                Marker = Marker.None,
            }),
        ];
        var bounded = findings[0].Holds == true
            ? "Neighbours differ by O(1/N): max N‖A(n+1) − A(n)‖ is the same for all N"
            : "Smoothness in depth during training";
        terminal.Say("figure: " + PaperFigure.Save(folder, "smoothness", bounded,
        [
            new Panel("Step", "max N‖A(n+1) − A(n)‖", Over(r => r.Smoothness)),
            new Panel("Step", "Loss", Over(r => r.Loss)) { LogY = true },
        ]));
        folder.Finish(terminal, $"Weights of a linear ResNet of depth {depth}", findings);
    }

    private static Result Descend(Setting setting, int depth, double rate, Terminal terminal, CancellationToken cancellation)
    {
        var (dimension, steps, tolerance, seed, device) = setting;
        using var scope = NewDisposeScope();
        new RandomNumbers(seed).SeedTorch();
        var identity = eye(dimension, dtype: ScalarType.Float64, device: device);
        var target = identity + randn(dimension, dimension, dtype: ScalarType.Float64).to(device);
        // A row vector x (I + A/N) is x + h W x with W = A^T: a residual stage of linear functions, run on the rows of
        // I.
        var functions = Enumerable.Range(0, depth)
            .Select(_ => nn.Linear(dimension, dimension, hasBias: false, dtype: ScalarType.Float64)).ToArray();
        foreach (var function in functions)
        {
            nn.init.zeros_(function.weight);
        }

        using var stage = new ResidualStage(
            functions, new StageOptions { Reconstruction = Reconstruction.Backprop, AccumulateGradientsInPlace = true });
        stage.to(device);
        using var descent = optim.SGD(stage.parameters(), rate);
        // Which steps are drawn is known only at the end: the first 100 and then each tenth are kept, 8·N·d² bytes
        // each.
        var smoothness = new List<SmoothnessRow>();
        var kept = new SortedDictionary<int, double[]>();
        for (var step = 0; step <= steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            using var inner = NewDisposeScope();
            descent.zero_grad();
            var loss = (stage.call(identity) - target).pow(2).mean();
            var value = loss.item<double>();
            if (!double.IsFinite(value))
            {
                throw new ResNetNodesException(
                    $"the loss is {value} at step {step}: gradient descent diverged; take a smaller --lr than {rate}");
            }

            var weights = Weights(functions);
            if (step < 100 || step % 10 == 0)
            {
                smoothness.Add(new(depth, step, value, Smoothness(weights, depth, dimension), weights.Max(Math.Abs)));
                kept[step] = weights;
                terminal.Progress((double)step / steps, $"step {step}, loss {value:0.0e+0}");
            }

            if (step == steps || (step % 100 == 0 && value < tolerance))
            {
                break;
            }

            loss.BackwardThroughStages();
            descent.step();
        }

        var draw = new RandomNumbers(seed).Stream();
        var chosen = kept.Keys.Where(step => step > 0).OrderBy(_ => draw.Next()).Take(Lines).Order().ToList();
        var (row, column) = (draw.Next(dimension), draw.Next(dimension));
        return new Result(depth, linalg.det(target).item<double>(), smoothness, [.. chosen.SelectMany(Line)]);

        IEnumerable<WeightRow> Line(int step) => Enumerable.Range(0, depth).Select(n =>
            new WeightRow(step, n, row, column, kept[step][(((n * dimension) + row) * dimension) + column]));
    }

    private static double[] Weights(Linear[] functions)
    {
        using var guard = no_grad();
        using var all = stack([.. functions.Select(f => f.weight.t())]).cpu().contiguous();
        return [.. all.data<double>()];
    }

    private static double Smoothness(double[] weights, int depth, int dimension)
    {
        var size = dimension * dimension;
        double Change(int n) => Math.Sqrt(Enumerable.Range(n * size, size).Sum(i => Math.Pow(weights[i + size] - weights[i], 2)));
        return Enumerable.Range(0, depth - 1).Max(Change) * depth;
    }

    private static Finding[] Judge(IReadOnlyList<Result> results, Result result, double tolerance)
    {
        var reachable = result.Determinant > 0;
        var largest = results.Select(own => (own.Depth, Value: own.Smoothness.Max(r => r.Smoothness))).ToList();
        var ratios = largest.Zip(largest.Skip(1), (n, doubled) => doubled.Value / n.Value).ToList();
        var losses = results.Select(own => own.Smoothness[^1]).ToList();
        return
        [
            new(
                "Weights stay smooth in depth: max N‖A_{n+1} − A_n‖ stays bounded as N doubles (ratio within ±10 %)",
                $"{string.Join(", ", largest.Select(l => $"{l.Value:0.000} at N = {l.Depth}"))}: ratios "
                    + $"{string.Join(", ", ratios.Select(ratio => $"{ratio:0.000}"))}, where weights reach "
                    + $"{result.Smoothness.Max(r => r.LargestWeight):0.00}",
                ratios.Count == 0 ? null : ratios.All(ratio => Math.Abs(ratio - 1) <= Bounded)),
            new(
                $"Gradient descent converges: the loss falls to {tolerance:0e+0}",
                $"loss {losses.Max(l => l.Loss):0.0e+0} at most, after {losses.Max(l => l.Step)} steps at most; det B = "
                    + $"{result.Determinant:0.000}" + (reachable ? string.Empty : ": not positive, so that no flow from I reaches B"),
                reachable ? losses.All(l => l.Loss < tolerance) : null),
        ];
    }
}
