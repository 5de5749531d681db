using System.Globalization;
using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// A training step: the largest reconstruction error of a stage, the largest estimated error of a state at which a gradient was taken,
/// evaluations a function on the way back, and states that were kept and replayed. Every tenth step has the error of the gradient relative
/// to backprop's at the same weights. The loss is not a number where training diverged.
/// </summary>
internal sealed record FailureRow(
    string Method,
    int Seed,
    int Step,
    double Loss,
    double? ReconstructionError,
    double? StateError,
    double EvaluationsPerLayer,
    int KeptStates,
    int ReplayedStates,
    double? GradientError);

/// <summary>Where the adjoint fails.</summary>
[Verb("adjoint-failure", HelpText =
    "A ResNet-101 trained with backprop and with adjoints: does the adjoint fail, and do our methods rescue it?")]
[Page(
    "Figure 3b of arXiv 2205.14612: few and rough layers, where h·Lip(f) is not small.",
    "resnet-nodes adjoint-failure --preset small                      (minutes on 2 cores)",
    "resnet-nodes adjoint-failure --preset paper --data ILSVRC")]
[PaperRow("figure 3b", order: 6)]
[JsonRows(typeof(FailureRow))]
[Defaults("network=ode", "size=101")]
[Preset("smoke", "dataset=synthetic", "limit=64", "planes=2", "size=custom:3+4+5+3", "steps=3", "batch=16")]
[Preset(
    "small",
    "planes=4", "methods=backprop,inverse,adaptive", "steps=150", "batch=64", "lr=1", "limit=20000", "seeds=1,2,3,4,5", "jobs=2")]
[Preset("paper", "dataset=imagenet", "batch=256", "steps=5000", "weight-decay=1e-4", "methods=backprop,inverse")]
internal sealed class AdjointFailure : Experiment
{
    [Option('m', "methods", Default = "backprop,inverse,corrected,adaptive", MetaValue = "METHOD,...", HelpText =
        "Reconstructions to train with.")]
    [Section("method")]
    public string Methods { get => Given(); set => Set(value); }

    [Option("steps", Default = "200", MetaValue = "N", HelpText = "Training steps.")]
    [Section("training")]
    public string Steps { get => Given(); set => Set(value); }

    public NetworkGroup Network { get; } = new("ode", "resnet", "tied");

    public SizeGroup Size { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    public AdjointFromGroup AdjointFrom { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public RateGroup Rate { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedsGroup Seeds { get; } = new();

    public JobsGroup Jobs { get; } = new();

    public DeviceGroup Device { get; } = new();

    // Steps from one comparison of gradients to the next.
    private const int Between = 10;

    // Times the highest loss of stored states.
    private const int LeavesThePanel = 3;

    private sealed record Part(string Method, Reconstruction Reconstruction, int Seed)
    {
        public string Key => $"{Method}-{Seed}".Replace(':', '_');
    }

    /// <summary>How a network is trained, but for its method and seed.</summary>
    private sealed record Setting(
        Func<Reconstruction, ResNetOptions> Network, int Steps, TrainingOptions Options, Func<int, BatchLoader> Loader);

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var methods = Read.Several("methods", Methods, name => (Name: name, Reconstruction: Read.Reconstruction("methods", name)));
        var network = Network.Name;
        var (size, steps, planes, adjointFrom) = (Size.Value, Read.Whole("steps", Steps), Planes.Of(network), AdjointFrom.Number);
        var stage = Execution.On(new StageOptions { Solver = Solver.Value, ReportReconstructionError = true });
        var options = Rate.On(Optimization.On(Device.Value));
        var seeds = Seeds.Numbers;
        var (images, _) = Images.Load(true, seeds[0], terminal, cancellation);
        ResNetOptions Options(Reconstruction reconstruction) => Network.Staged(
            network, size, planes, adjointFrom, stage with { Reconstruction = reconstruction }, images.Classes);
        foreach (var (_, reconstruction) in methods)
        {
            NetworkGroup.Check("size", Options(reconstruction), Workload.Of(options, Batch.Number, images, Images.Pixels));
        }

        var folder = RunFolder.Open(this);
        var setting = new Setting(
            Options, steps, options, seed => Images.TrainBatches(Batch.Number, seed, terminal, cancellation).Loader);
        var parts = (
            from seed in seeds
            from method in methods
            select new Part(method.Name, method.Reconstruction, seed)).ToList();
        List<FailureRow> rows =
        [
            .. (Jobs.Number > 1 && parts.Count > 1
                ? InProcesses(folder, parts, terminal, cancellation)
                : parts.Select(part => folder.Point(part.Key, () => Descend(part, setting, terminal, cancellation))))
                .SelectMany(own => own),
        ];
        rows.ForEach(terminal.Row);
        folder.WriteCsv("steps.csv", rows);
        var statements = new FailureStatements(rows, [.. methods.Select(m => m.Name)], steps, images.Classes);
        folder.WriteCsv("losses.csv", statements.Losses);
        terminal.Table(statements.Losses);
        terminal.Say("figure: " + Draw(folder, statements));
        folder.Finish(
            terminal, $"The adjoint on a {network} network of size {size}, {images.Name}, {seeds.Count} seeds", statements.Findings);
    }

    private IReadOnlyList<List<FailureRow>> InProcesses(
        RunFolder folder, List<Part> parts, Terminal terminal, CancellationToken cancellation) => new Children(folder, this, Jobs).Run(
        parts.ConvertAll(part => new Child(
            part.Key, typeof(AdjointFailure), ("methods", part.Method), ("seeds", $"{part.Seed}"), ("jobs", "1"), ("json", "true"))),
        (_, run) => Rows.Parse<FailureRow>(run()),
        (i, own) => terminal.Say($"{parts[i].Key}: loss {own[^1].Loss:0.000} after {own[^1].Step} steps"),
        terminal,
        cancellation);

    private static List<FailureRow> Descend(Part part, Setting setting, Terminal terminal, CancellationToken cancellation)
    {
        var (steps, options) = (setting.Steps, setting.Options);
        var (loader, rows) = (setting.Loader(part.Seed), new List<FailureRow>());
        using var model = NetworkGroup.Build(setting.Network(part.Reconstruction), part.Seed);
        using var truth = new BackpropTruth(NetworkGroup.Build(setting.Network(Reconstruction.Backprop), part.Seed), options.Device);
        using var compared = setting.Loader(part.Seed + 1).Epoch(0).First();
        using var trainer = new Trainer(model, options);
        var stages = NetworkGroup.StagesOf(model);
        foreach (var batch in loader.Endless().Take(steps))
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using (batch)
            {
                var step = rows.Count + 1;
                // Before the step, at the weights of which it takes its gradient.
                var error = step % Between == 1 ? truth.Compare(model, compared).Whole : (double?)null;
                try
                {
                    var (images, labels) = batch.On(options.Device);
                    var (loss, _) = trainer.TrainStep(images, labels);
                    rows.Add(Row(part, step, loss, stages) with { GradientError = error });
                }
                catch (DivergedException) when (rows.Count > 0)
                {
                    // Divergence is what this experiment looks for: the run ends here, and the figure shows it.
                    terminal.Warn($"{part.Key}: the loss is not finite after step {rows.Count}: training diverged");
                    rows.Add(new(part.Method, part.Seed, step, double.NaN, null, null, 0, 0, 0, null));
                    return rows;
                }
            }

            terminal.Progress((double)rows.Count / steps, $"{part.Key}: step {rows.Count}/{steps}, loss {rows[^1].Loss:0.000}");
        }

        return rows;
    }

    private static FailureRow Row(Part part, int step, double loss, IReadOnlyList<ResidualStage> stages)
    {
        var reports = stages.Select(s => s.LastReport!).ToList();
        return new(
            part.Method, part.Seed, step, loss, reports.Max(r => r.ReconstructionError), reports.Max(r => r.Error),
            (double)reports.Sum(r => r.Evaluations) / stages.Sum(s => s.Depth),
            reports.Sum(r => r.Count(StateSource.Kept)), reports.Sum(r => r.Count(StateSource.Replayed)), null);
    }

    // Quartiles over the seeds of what each has in a stretch of ten steps. Losses of runs that diverge leave the panel, in which the
    // others could not be told apart.
    private static string Draw(RunFolder folder, FailureStatements statements)
    {
        Series Line(string method, Func<FailureRow, double?> value)
        {
            var stretches = statements.Of(method).GroupBy(r => (r.Step - 1) / Between).Select(stretch => (
                Step: (stretch.Key * Between) + 1,
                Values: stretch.GroupBy(r => r.Seed).Select(own => own.Average(value) ?? double.NaN).Where(double.IsFinite).ToList()))
                .Where(stretch => stretch.Values.Count > 0).ToList();
            return Series.OfQuartiles(
                method, [.. stretches.Select(s => (double)s.Step)], i => stretches[i].Values, PaperFigure.ColourOfMethod(method)) with
            {
                Stroke = method == "backprop" ? Stroke.Solid : method == "inverse" ? Stroke.Dashed : Stroke.Dotted,
                Marker = Marker.None,
            };
        }

        Panel Panel(string y, Func<FailureRow, double?> value, bool logY = false) =>
            new("Training step", y, [.. statements.Methods.Select(method => Line(method, value))]) { LogY = logY };
        var losses = Panel("Loss, mean of 10 steps", r => r.Loss, logY: true);
        List<double> Drawn(IEnumerable<Series> lines) => [.. lines.SelectMany(line => line.Y)];
        if (Drawn(losses.Series.Where(line => line.Label == "backprop")) is { Count: > 0 } stored
            && Drawn(losses.Series) is var all && all.Max() > LeavesThePanel * stored.Max())
        {
            losses = losses with
            {
                Y = string.Create(CultureInfo.InvariantCulture, $"{losses.Y} (below {LeavesThePanel * stored.Max():0})"),
                RangeY = (all.Min(), LeavesThePanel * stored.Max()),
            };
        }

        return PaperFigure.Save(folder, "adjoint-failure", statements.Title,
        [
            losses,
            Panel("Relative error of the gradient", r => r.GradientError, logY: true),
            Panel("Relative error of the states at x₀", r => r.ReconstructionError, logY: true),
            Panel("Evaluations a layer, way back", r => r.EvaluationsPerLayer),
        ]);
    }
}
