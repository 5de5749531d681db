using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>A step of gradient descent: its loss, and how rough the weights are in depth.</summary>
internal sealed record SmoothnessRow(int Depth, int Step, double Loss, double Smoothness, double LargestWeight);

/// <summary>One entry of the weights of one layer at one step.</summary>
internal sealed record WeightRow(int Step, int Layer, int Row, int Column, double Weight);

/// <summary>The linear case: do weights stay smooth in depth?</summary>
[Verb("linear-weights", HelpText = "Weights of a deep linear ResNet under gradient descent: smooth in depth.")]
[Page(
    "Figure 2 of arXiv 2205.14612: (I + A_0/N) ... (I + A_{N-1}/N) is taught a matrix I + G; smoothness is max_n N‖A_{n+1} − A_n‖ (section 3).",
    "resnet-nodes linear-weights --depth 100 --seed 6    (20 seconds)",
    "resnet-nodes linear-weights --preset smoke --json   (2 seconds)")]
[JsonRows(typeof(SmoothnessRow), typeof(WeightRow))]
[Preset("smoke", "depth=40", "steps=200", "lr=40", "seed=6")]
[Preset("small", "seed=6")]
[Preset("paper", "seed=6")]
internal sealed class LinearWeights : CommonOptions
{
    private const int Lines = 4;

    [Option('d', "depth", Default = "100", MetaValue = "N", HelpText = "Layers.")]
    [Section("model")]
    public string Depth { get; set; } = "100";

    [Option("dimension", Default = "2", MetaValue = "D", HelpText = "Rows and columns of the matrices.")]
    [Section("model")]
    public string Dimension { get; set; } = "2";

    [Option('l', "lr", Default = "100", MetaValue = "RATE", HelpText = "Learning rate of gradient descent.")]
    [Section("training")]
    public string Rate { get; set; } = "100";

    [Option("steps", Default = "10000", MetaValue = "N", HelpText = "Steps at most.")]
    [Section("training")]
    public string Steps { get; set; } = "10000";

    [Option("tolerance", Default = "1e-5", MetaValue = "LOSS", HelpText = "Stop under this loss, looked at every 100 steps.")]
    [Section("training")]
    public string Tolerance { get; set; } = "1e-5";

    private sealed record Result(double Determinant, List<SmoothnessRow> Smoothness, List<WeightRow> Weights);

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var depth = Read.Whole("depth", Depth, 2);
        var dimension = Read.Whole("dimension", Dimension, 1);
        var rate = Read.Number("lr", Rate, 0, aboveLeast: true);
        var steps = Read.Whole("steps", Steps, 1);
        var tolerance = Read.Number("tolerance", Tolerance, 0);
        var folder = RunFolder.Open(this);
        var result = folder.Point("descent", () => Descend(depth, dimension, rate, steps, tolerance, terminal, cancellation));
        // The theory bounds N‖A_{n+1} − A_n‖ for all N at once: half of the depth says whether it grows.
        var half = folder.Point("half", () => Descend(Math.Max(depth / 2, 2), dimension, rate / 2, steps, tolerance, terminal, cancellation));
        List<SmoothnessRow> all = [.. half.Smoothness, .. result.Smoothness];
        all.ForEach(terminal.Row);
        result.Weights.ForEach(terminal.Row);
        folder.WriteCsv("smoothness.csv", all);
        folder.WriteCsv("weights.csv", result.Weights);
        terminal.Table([.. result.Smoothness.Where((_, i) => i % Math.Max(1, result.Smoothness.Count / 10) == 0 || i == result.Smoothness.Count - 1)]);
        var lines = result.Weights.GroupBy(w => w.Step).Select((line, i) =>
            new Series($"Step: {line.Key}", [.. line.Select(w => (double)w.Layer)], [.. line.Select(w => w.Weight)], PaperFigure.ColourAt(i), Markers: false)).ToList();
        terminal.Say("figure: " + PaperFigure.Save(folder, "linear-weights", "Weights of a deep linear ResNet", "Depth N", "Weight value", lines));
        Series Over(Result one, Func<SmoothnessRow, double> value, string colour) =>
            new($"N = {one.Smoothness[0].Depth}", [.. one.Smoothness.Select(r => (double)r.Step)], [.. one.Smoothness.Select(value)], colour, Markers: false);
        terminal.Say("figure: " + PaperFigure.Save(folder, "smoothness", "Smoothness in depth during training",
        [
            new Panel("Step", "max N‖A(n+1) − A(n)‖", [Over(result, r => r.Smoothness, PaperFigure.DarkBlue), Over(half, r => r.Smoothness, PaperFigure.Red)]),
            new Panel("Step", "Loss", [Over(result, r => r.Loss, PaperFigure.DarkBlue), Over(half, r => r.Loss, PaperFigure.Red)]) { LogY = true },
        ]));
        folder.Finish(terminal, $"Weights of a linear ResNet of depth {depth}", "figure 2", Judge(result, half, tolerance));
    }

    private Result Descend(int depth, int dimension, double rate, int steps, double tolerance, Terminal terminal, CancellationToken cancellation)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(SeedNumber);
        var device = FindDevice();
        var identity = eye(dimension, dtype: ScalarType.Float64, device: device);
        var target = identity + randn(dimension, dimension, dtype: ScalarType.Float64).to(device);
        // A row vector x (I + A/N) is x + h W x with W = A^T: a residual stage of linear functions, run on the rows of I.
        var functions = Enumerable.Range(0, depth).Select(_ => nn.Linear(dimension, dimension, hasBias: false, dtype: ScalarType.Float64)).ToArray();
        foreach (var function in functions)
        {
            nn.init.zeros_(function.weight);
        }

        using var stage = new ResidualStage(functions, new StageOptions { Reconstruction = Reconstruction.Backprop, AccumulateGradientsInPlace = true });
        stage.to(device);
        using var descent = optim.SGD(stage.parameters(), rate);
        // Which steps are drawn is known at the end alone: the first 100 and then each tenth are kept, 8·N·d² bytes each.
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
                throw new ResNetNodesException($"the loss is {value} at step {step}: gradient descent diverged; take a smaller --lr than {rate}");
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

        var draw = new Random((int)SeedNumber);
        var chosen = kept.Keys.Where(step => step > 0).OrderBy(_ => draw.Next()).Take(Lines).Order().ToList();
        var (row, column) = (draw.Next(dimension), draw.Next(dimension));
        return new Result(
            linalg.det(target).item<double>(),
            smoothness,
            [.. chosen.SelectMany(step => Enumerable.Range(0, depth).Select(n => new WeightRow(step, n, row, column, kept[step][(((n * dimension) + row) * dimension) + column])))]);
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
        return Enumerable.Range(0, depth - 1).Max(n => Math.Sqrt(Enumerable.Range(n * size, size).Sum(i => Math.Pow(weights[i + size] - weights[i], 2)))) * depth;
    }

    private static Finding[] Judge(Result result, Result half, double tolerance)
    {
        var last = result.Smoothness[^1];
        var (largest, before) = (result.Smoothness.Max(r => r.Smoothness), half.Smoothness.Max(r => r.Smoothness));
        var (deep, shallow) = (last.Depth, half.Smoothness[0].Depth);
        var reachable = result.Determinant > 0;
        return
        [
            new(
                "Weights stay smooth in depth: max N‖A_{n+1} − A_n‖ stays bounded during training, for all N",
                $"at most {largest:0.00} over {last.Step} steps with N = {deep}, {before:0.00} with N = {shallow}: neighbours differ by {largest / deep:0.0000}, where weights reach {result.Smoothness.Max(r => r.LargestWeight):0.00}",
                largest < 1.2 * before),
            new(
                "Gradient descent converges",
                $"loss {last.Loss:0.0e+0} after {last.Step} steps; det B = {result.Determinant:0.000}" + (reachable ? string.Empty : ": not positive, so that no flow from I reaches B"),
                reachable ? last.Loss < tolerance : null),
        ];
    }
}
