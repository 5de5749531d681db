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
/// evaluations a function on the way back, and states that were kept and replayed.
/// </summary>
internal sealed record FailureRow(
    string Method,
    int Step,
    double Loss,
    double? ReconstructionError,
    double? StateError,
    double EvaluationsPerLayer,
    int KeptStates,
    int ReplayedStates);

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
[Preset("small", "planes=4", "steps=120", "batch=64", "limit=6000")]
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

    public OptimizationGroup Optimization { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var methods = Read.Several("methods", Methods, name => (Name: name, Reconstruction: Read.Reconstruction("methods", name)));
        var network = Network.Name;
        var (size, steps, planes, adjointFrom) = (Size.Value, Read.Whole("steps", Steps), Planes.Of(network), AdjointFrom.Number);
        var stage = Execution.On(new StageOptions { Solver = Solver.Value, ReportReconstructionError = true });
        var options = Optimization.On(Device.Value);
        var (loader, images) = Images.TrainBatches(Batch.Number, Seed.Number, terminal, cancellation);
        ResNetOptions Options(Reconstruction reconstruction) => Network.Staged(
            network, size, planes, adjointFrom, stage with { Reconstruction = reconstruction }, images.Classes);
        foreach (var (_, reconstruction) in methods)
        {
            NetworkGroup.Check("size", Options(reconstruction), Workload.Of(options, Batch.Number, images, Images.Pixels));
        }

        var folder = RunFolder.Open(this);
        var rows = new List<FailureRow>();
        foreach (var (name, reconstruction) in methods)
        {
            var own = folder.Point(name, () =>
            {
                using var model = NetworkGroup.Build(Options(reconstruction), Seed.Number);
                return Descend(name, model, loader, steps, options, terminal, cancellation);
            });
            own.ForEach(terminal.Row);
            rows.AddRange(own);
        }

        var names = methods.Select(m => m.Name).ToList();
        folder.WriteCsv("steps.csv", rows);
        terminal.Table([.. names.Select(name => rows.Last(r => r.Method == name))]);
        terminal.Say("figure: " + Draw(folder, names, rows, $"{network} {size} on {images.Name}"));
        folder.Finish(terminal, $"The adjoint on a {network} network of size {size}, {images.Name}", Judge(names, rows));
    }

    private static List<FailureRow> Descend(
        string name,
        nn.Module<Tensor, Tensor> model,
        BatchLoader loader,
        int steps,
        TrainingOptions options,
        Terminal terminal,
        CancellationToken cancellation)
    {
        var rows = new List<FailureRow>();
        using var trainer = new Trainer(model, options);
        var stages = NetworkGroup.StagesOf(model);
        for (var epoch = 0; rows.Count < steps; epoch++)
        {
            foreach (var batch in loader.Epoch(epoch).Take(steps - rows.Count))
            {
                cancellation.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                using (batch)
                {
                    try
                    {
                        var (images, labels) = batch.On(options.Device);
                        var (loss, _) = trainer.TrainStep(images, labels);
                        rows.Add(Row(name, rows.Count + 1, loss, stages));
                    }
                    catch (DivergedException) when (rows.Count > 0)
                    {
                        // Divergence is what this experiment looks for: the run ends here, and the figure shows it.
                        terminal.Warn($"{name}: the loss is not finite after step {rows.Count}: training diverged");
                        rows.Add(new(name, rows.Count + 1, double.NaN, null, null, 0, 0, 0));
                        return rows;
                    }
                }

                terminal.Progress((double)rows.Count / steps, $"{name}: step {rows.Count}/{steps}, loss {rows[^1].Loss:0.000}");
            }
        }

        return rows;
    }

    private static FailureRow Row(string name, int step, double loss, IReadOnlyList<ResidualStage> stages)
    {
        var reports = stages.Select(s => s.LastReport!).ToList();
        return new(
            name, step, loss, reports.Max(r => r.ReconstructionError), reports.Max(r => r.Error),
            (double)reports.Sum(r => r.Evaluations) / stages.Sum(s => s.Depth),
            reports.Sum(r => r.Count(StateSource.Kept)), reports.Sum(r => r.Count(StateSource.Replayed)));
    }

    private static string Draw(RunFolder folder, List<string> methods, List<FailureRow> rows, string title)
    {
        Series Line(string method, int i, Func<FailureRow, double?> value)
        {
            var own = rows.Where(r => r.Method == method).ToList();
            return new(
                method, [.. own.Select(r => (double)r.Step)], [.. own.Select(r => value(r) ?? double.NaN)], PaperFigure.ColourAt(i))
            {
                Marker = Marker.None,
            };
        }

        Panel Panel(string y, Func<FailureRow, double?> value, bool logY = false) =>
            new("Training step", y, [.. methods.Select((method, i) => Line(method, i, value))]) { LogY = logY };
        return PaperFigure.Save(folder, "adjoint-failure", title,
        [
            Panel("Loss", r => r.Loss),
            Panel("Reconstruction error", r => r.ReconstructionError, logY: true),
            Panel("Evaluations a layer", r => r.EvaluationsPerLayer),
        ]);
    }

    // Over fewer steps than this, no method has had the time to fail or to learn.
    private const int EnoughSteps = 50;

    private static List<Finding> Judge(List<string> methods, List<FailureRow> rows)
    {
        double Last(string method) => rows.Where(r => r.Method == method).TakeLast(10).Average(r => r.Loss);
        double Worst(string method) => rows.Where(r => r.Method == method).Max(r => r.ReconstructionError) ?? 0;
        var findings = new List<Finding>();
        if (!methods.Contains("backprop"))
        {
            return findings;
        }

        var truth = Last("backprop");
        bool? Over(bool holds) => rows.Max(r => r.Step) < EnoughSteps ? null : holds;
        if (methods.Contains("inverse"))
        {
            var worse = !(Last("inverse") < 1.2 * truth);
            findings.Add(new(
                "The adjoint fails on a ResNet-101: few, rough layers",
                $"inverse: reconstruction error up to {Worst("inverse"):0.0e+0}, loss {Last("inverse"):0.000} after "
                    + $"{rows.Count(r => r.Method == "inverse")} steps, backprop {truth:0.000}"
                    + (worse ? string.Empty : "; the states are lost, the loss does not show it yet"),
                worse ? Over(true) : Worst("inverse") > 0.1 ? null : false));
        }

        foreach (var method in methods.Where(m => m is not ("backprop" or "inverse")))
        {
            var own = rows.Where(r => r.Method == method).ToList();
            findings.Add(new(
                $"Ours: {method} trains as backprop does",
                $"loss {Last(method):0.000} against {truth:0.000}; reconstruction error up to {Worst(method):0.0e+0}; "
                    + $"{own.Average(r => r.EvaluationsPerLayer):0.00} evaluations a layer, "
                    + $"{own.Average(r => r.KeptStates):0.0} states kept",
                Over(Last(method) < 1.2 * truth)));
        }

        return findings;
    }
}
