using System.Globalization;
using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>The error of a method's whole gradient of the stage.</summary>
internal sealed record GradientRow(
    int Depth,
    string Solver,
    string Reconstruction,
    double RelativeError,
    double? Cosine,
    double? StateError,
    double EvaluationsPerLayer,
    int KeptStates);

/// <summary>The error of one parameter's gradient; the squared one is the paper's figure.</summary>
internal sealed record ParameterRow(
    int Depth, string Solver, string Reconstruction, string Parameter, double RelativeError, double SquaredError, double? Cosine);

/// <summary>Adjoint against backprop at one set of weights.</summary>
[Verb("compare-gradients", HelpText = "Error of the adjoint's gradient relative to backprop, against depth.")]
[Page(
    "Figure 4 of arXiv 2205.14612. Weights: trained with backprop for --train-steps, or of --checkpoint; "
    + "--stretch-from takes one network to all depths. Beside inverse stands what the paper's code computes: there each layer is "
    + "inverted from its exact output, so that errors do not accumulate, and no memory is saved.",
    "resnet-nodes compare-gradients --depths 8,16,32 --solvers euler,heun --train-steps 330    (3 minutes on 2 cores)",
    "resnet-nodes compare-gradients --depths 4,8 --dataset synthetic --train-steps 20 --json   (10 seconds)")]
[PaperRow("figure 4", order: 5)]
[JsonRows(typeof(GradientRow), typeof(ParameterRow))]
[Defaults("reconstructions=inverse,corrected,corrected:2,adaptive")]
[Meaning("planes", "Channels of the stage [16].")]
[Meaning("zero-init", "Start every residual function at 0, its last batch normalization's weight being 0 [true].")]
[Meaning("depths", "Residual functions.")]
[Meaning("reconstructions", "Methods to compare with backprop: {methods}.")]
[Meaning("checkpoint", "Weights of a trained network (of the same depth, or of --stretch-from's), instead of training one first.")]
[Preset("smoke", "dataset=synthetic", "limit=200", "planes=4", "depths=4,8", "train-steps=5", "batch=50")]
[Preset("small", "depths=4,8,16,32,64", "train-steps=400")]
[Preset("paper", "dataset=cifar10", "depths=4,8,16,32,64", "batch=256", "reconstructions=inverse", "train-steps=17550")]
internal sealed class CompareGradients : Experiment
{
    /// <summary>The method of the paper's code, as rows name it.</summary>
    private const string FromExactOutputs = "inverse (exact outputs)";

    [Option("train-steps", Default = "330", MetaValue = "N", HelpText =
        "Training steps with backprop before the comparison.")]
    [Section("training")]
    public string TrainSteps { get => Given(); set => Set(value); }

    [Option("stretch-from", MetaValue = "N", HelpText =
        "Train at depth N only; layer i of depth b takes layer ⌊i·N/b⌋ of it.")]
    [Section("training")]
    public string? StretchFrom { get => Optional(); set => Set(value); }

    public NetworkGroup Network { get; } = new("tiny");

    public DepthsGroup Depths { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolversGroup Solvers { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public CheckpointGroup Checkpoint { get; } = new();

    public RateGroup Rate { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    private sealed record Point(List<GradientRow> Whole, List<ParameterRow> Parameters);

    /// <summary>The weights that gradients are compared at: training with backprop, or a file.</summary>
    private sealed record Preparation(string? Checkpoint, int Steps, BatchLoader Loader, TrainingOptions Options);

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        _ = Network.Name;
        var (depths, solvers, methods) = (Depths.Numbers, Solvers.Values, Methods.Values);
        var steps = Read.Whole("train-steps", TrainSteps);
        var stretch = StretchFrom is { } text ? Read.Whole("stretch-from", text) : (int?)null;
        var checkpoint = Checkpoint.Path;
        if (checkpoint is not null)
        {
            Unused("train-steps", "--checkpoint takes the place of training");
        }

        var stage = Execution.On(new StageOptions { Reconstruction = Reconstruction.Backprop });
        var planes = Planes.Of(Network.Name);
        var options = Rate.On(Optimization.On(Device.Value));
        var (images, augmentation) = Images.Load(true, Seed.Number, terminal, cancellation);
        BatchLoader Loader(long seed) => Images.Batches(images, augmentation, Batch.Number, seed);
        var preparation = new Preparation(checkpoint, steps, Loader(Seed.Number), options);
        using var batch = Loader(Seed.Number + 1).Epoch(0).First();
        TinyResNetOptions Options(Solver solver, int depth) =>
            Network.Tiny(depth, planes, stage with { Solver = solver }, images.Classes);
        TinyResNet Make(Solver solver, int depth) => NetworkGroup.Build(Options(solver, depth), Seed.Number);
        // Without training there is no momentum.
        var load = Workload.Of(options, Batch.Number, images, Images.Pixels) with { Copies = 2 };
        foreach (var solver in solvers)
        {
            foreach (var depth in depths)
            {
                NetworkGroup.Check("depths", Options(solver, depth), load);
            }

            if (stretch is { } trained)
            {
                NetworkGroup.Check("stretch-from", Options(solver, trained), load);
            }

            if (checkpoint is not null)
            {
                // Of another network it is refused before there is a folder.
                using var network = Make(solver, stretch ?? depths[0]);
                CheckpointGroup.Load(checkpoint, network);
            }
        }

        var folder = RunFolder.Open(this);
        var points = new List<Point>();
        foreach (var solver in solvers)
        {
            TinyResNet? source = null;
            foreach (var depth in depths)
            {
                points.Add(folder.Point($"{solver.Name}-{depth}", () =>
                {
                    using var model = Make(solver, depth);
                    if (stretch is { } from)
                    {
                        source ??= Prepare(
                            Make(solver, from), preparation, terminal, $"{solver.Name}, depth {from}", cancellation);
                        DepthTransfer.Copy(source, model);
                        model.to(options.Device);
                    }
                    else
                    {
                        Prepare(model, preparation, terminal, $"{solver.Name}, depth {depth}", cancellation);
                    }

                    return Compare(model, solver.Name, methods, batch, options.Device);
                }));
                points[^1].Whole.ForEach(terminal.Row);
                points[^1].Parameters.ForEach(terminal.Row);
            }

            source?.Dispose();
        }

        List<GradientRow> rows = [.. points.SelectMany(p => p.Whole)];
        List<ParameterRow> parameters = [.. points.SelectMany(p => p.Parameters)];
        folder.WriteCsv("gradients.csv", rows);
        folder.WriteCsv("parameters.csv", parameters);
        terminal.Table(rows);
        var findings = Judge(rows, solvers, depths[^1]);
        var papers = findings.Where(f => !f.IsOurs).ToList();
        var title = papers.Count > 0 && papers.All(f => f.Holds == true)
            ? "The adjoint's gradient comes closer to backprop with depth, at least as fast as theory says"
            : "Error of the adjoint's gradient, per parameter, against depth";
        terminal.Say("figure: " + Draw(folder, title, depths, solvers, rows, parameters));
        folder.Finish(terminal, $"Gradients of the adjoint against backprop on {images.Name}", findings);
    }

    private static TinyResNet Prepare(
        TinyResNet model, Preparation preparation, Terminal terminal, string what, CancellationToken cancellation)
    {
        var (checkpoint, steps, loader, options) = preparation;
        if (checkpoint is not null)
        {
            CheckpointGroup.Load(checkpoint, model);
            model.to(options.Device);
            return model;
        }

        using var trainer = new Trainer(model, options);
        var done = 0;
        foreach (var batch in loader.Endless().Take(steps))
        {
            using var scope = NewDisposeScope();
            using (batch)
            {
                cancellation.ThrowIfCancellationRequested();
                var (images, labels) = batch.On(options.Device);
                trainer.TrainStep(images, labels);
            }

            terminal.Progress((double)++done / steps, $"{what}: training step {done}/{steps}");
        }

        return model;
    }

    private static Point Compare(
        TinyResNet model, string solver, IReadOnlyList<Reconstruction> methods, Batch batch, Device device)
    {
        using var scope = NewDisposeScope();
        var names = model.Stage.named_parameters().Select(p => p.name).ToList();
        var depth = model.Stage.Depth;
        var truth = Gradients(model, Reconstruction.Backprop, batch, device);
        var point = new Point([], []);
        foreach (var method in methods)
        {
            var found = Gradients(model, method, batch, device);
            Add(method.ToString(), found, [model.Stage.LastReport!]);
        }

        // The last: it takes the network over.
        if (methods.Contains(Reconstruction.Inverse))
        {
            using var exact = new ExactOutputs(model, Reconstruction.Inverse);
            Add(FromExactOutputs, NetworkGradient.Of(exact, model.Stage.parameters(), batch, device), [.. exact.Reports]);
        }

        return point;

        void Add(string method, List<Tensor> found, IReadOnlyList<StageReport> reports)
        {
            var (error, cosine) = NetworkGradient.Difference(NetworkGradient.Whole(found), NetworkGradient.Whole(truth));
            point.Whole.Add(new(
                depth, solver, method, error, cosine, reports.Max(r => r.ReconstructionError),
                (double)reports.Sum(r => r.Evaluations) / depth, reports.Sum(r => r.Count(StateSource.Kept))));
            for (var i = 0; i < names.Count; i++)
            {
                var (one, oneCosine) = NetworkGradient.Difference(found[i].flatten(), truth[i].flatten());
                point.Parameters.Add(new(depth, solver, method, names[i], one, one * one, oneCosine));
            }
        }
    }

    private static List<Tensor> Gradients(TinyResNet model, Reconstruction method, Batch batch, Device device)
    {
        model.Stage.Options = model.Stage.Options with { Reconstruction = method, ReportReconstructionError = true };
        return NetworkGradient.Of(model, model.Stage.parameters(), batch, device);
    }

    private static List<Finding> Judge(List<GradientRow> rows, IReadOnlyList<Solver> solvers, int deepest)
    {
        var findings = new List<Finding>();
        const string asPublished = ", each layer from its exact output as in the paper's code";
        foreach (var (method, how) in new[] { ("inverse", string.Empty), (FromExactOutputs, asPublished) })
        {
            foreach (var solver in solvers)
            {
                var own = rows.Where(r => r.Solver == solver.Name && r.Reconstruction == method).ToList();
                if (LineOf(own) is { } line)
                {
                    var order = solver.Order;
                    findings.Add(new(
                        $"{Network(solver)}{how}: the adjoint's gradient error falls at least as 1/N{Superscript(order)}",
                        $"error {own[0].RelativeError:0.0e+0} at depth {own[0].Depth}, {own[^1].RelativeError:0.0e+0} at {own[^1].Depth}: "
                            + $"N to the power {line.Text("0.00")}",
                        line.FallsAs(order)));
                }
            }
        }

        foreach (var solver in solvers)
        {
            double? Error(string method) => rows.FirstOrDefault(
                r => r.Solver == solver.Name && r.Depth == deepest && r.Reconstruction == method)?.RelativeError;
            if (Error("inverse") is { } inverse && Error("corrected:2") is { } corrected)
            {
                findings.Add(new(
                    $"Ours: corrected:2 is closer to backprop than the paper's inverse ({Network(solver)})",
                    $"at depth {deepest}, {corrected:0.0e+0} against {inverse:0.0e+0}",
                    corrected < inverse));
            }
        }

        return findings;

        static string Network(Solver solver) => PaperFigure.NetworkOf(solver.Name);
        static string Superscript(int order) => order switch { 1 => string.Empty, 2 => "²", 3 => "³", _ => $"^{order}" };
    }

    private static Line? LineOf(IEnumerable<GradientRow> rows)
    {
        var own = rows.ToList();
        return Fit.Power(own.Select(r => (double)r.Depth), own.Select(r => r.RelativeError));
    }

    // A panel a method, one column a depth, jittered; parameters but biases, as the paper: a bias before batch normalization has no
    // gradient. All panels have the same ordinate, so that methods can be compared.
    private static string Draw(
        RunFolder folder,
        string title,
        IReadOnlyList<int> depths,
        IReadOnlyList<Solver> solvers,
        List<GradientRow> whole,
        List<ParameterRow> parameters)
    {
        var jitter = new RandomNumbers(0).Stream();
        var columns = depths.Index().ToDictionary(pair => pair.Item, pair => pair.Index);
        var drawn = parameters.Where(r => !r.Parameter.EndsWith("bias", StringComparison.Ordinal) && r.SquaredError > 0).ToList();
        Series Cloud(string method, int s)
        {
            var points = drawn.Where(r => r.Reconstruction == method && r.Solver == solvers[s].Name).ToList();
            double Column(ParameterRow r) =>
                columns[r.Depth] + ((s + 0.5) / solvers.Count * 0.7) - 0.35 + ((jitter.NextDouble() - 0.5) * 0.5 / solvers.Count);
            var line = LineOf(whole.Where(r => r.Reconstruction == method && r.Solver == solvers[s].Name));
            // The paper draws squares: twice the exponent. What bounds its error by itself has none.
            var slope = line is null || method.StartsWith("adaptive", StringComparison.Ordinal)
                ? string.Empty
                : $": exponent {line.Squared.Text("0.0")}"
                + (method.StartsWith("inverse", StringComparison.Ordinal) ? $" (theory {-2 * solvers[s].Order})" : string.Empty);
            return new(
                PaperFigure.NetworkOf(solvers[s].Name) + slope, [.. points.Select(Column)], [.. points.Select(r => r.SquaredError)],
                PaperFigure.ColourOf(solvers[s].Name))
            { Stroke = Stroke.None };
        }

        // The paper's two ways first.
        var methods = whole.Select(r => r.Reconstruction).Distinct()
            .OrderByDescending(method => method.StartsWith("inverse", StringComparison.Ordinal));
        var panels = methods.Select(method =>
            new Panel("Depth N", "Relative squared error", [.. solvers.Select((_, s) => Cloud(method, s))])
            {
                Title = method,
                LogY = true,
                RangeX = (-0.5, depths.Count - 0.5),
                RangeY = drawn.Count > 0 ? (drawn.Min(r => r.SquaredError), drawn.Max(r => r.SquaredError)) : null,
                TicksX = [.. depths.Select((d, i) => ((double)i, d.ToString(CultureInfo.InvariantCulture)))],
            }).ToList();
        return PaperFigure.Save(folder, "gradients", title, panels);
    }
}
