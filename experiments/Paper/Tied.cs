using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Paper;

/// <summary>An epoch of one run: size and method, then its metrics.</summary>
internal sealed record TiedRow(
    string Size,
    string Reconstruction,
    int Epoch,
    double TrainLoss,
    double TrainAccuracy,
    double TestLoss,
    double TestAccuracy,
    double? ReconstructionError,
    double Seconds);

/// <summary>Training with one function per stage.</summary>
[Verb("tied", HelpText = "Train networks with tied weights: one residual function per stage, applied n times.")]
[Page(
    "Figure 3a of arXiv 2205.14612: networks of four stages, auto:n, trained with the adjoint.",
    "resnet-nodes tied --preset small                                  (minutes on 2 cores)",
    "resnet-nodes tied --preset paper --data cifar-10-binary.tar.gz",
    "resnet-nodes tied --preset paper-imagenet --data ILSVRC")]
[PaperRow("figure 3a", order: 7)]
[JsonRows(typeof(TiedRow), typeof(PlanRow), typeof(PlanPartRow))]
[Defaults("network=tied", "epochs=200")]
[Preset("smoke", "dataset=synthetic", "limit=100", "planes=2", "sizes=auto:2", "epochs=1", "batch=50")]
[Preset("small", "planes=4", "sizes=auto:4,auto:8", "limit=6000", "epochs=3", "batch=32", "zero-init=true")]
[Preset("paper", "dataset=cifar10", "sizes=auto:8", "reconstructions=inverse", "epochs=200")]
[Preset(
    "paper-imagenet",
    "dataset=imagenet", "sizes=auto:8", "reconstructions=inverse", "batch=256", "epochs=102", "schedule=steps:30+60+90",
    "weight-decay=1e-4")]
internal sealed class Tied : Experiment
{
    public SizesGroup Sizes { get; } = new();

    public NetworkGroup Network { get; } = new("tied", "ode", "resnet");

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

    public AdjointFromGroup AdjointFrom { get; } = new();

    public MemoryGroup Memory { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public ScheduleGroup Schedule { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var network = Network.Name;
        var (sizes, methods, memory) = (Sizes.Values, Memory.Of(Methods.Values), Memory.Bytes);
        var options = Schedule.On(Optimization.On(Device.Value));
        var stage = Execution.On(new StageOptions
        {
            Solver = Solver.Value,
            ReportReconstructionError = true,
        });
        var (planes, adjointFrom) = (Planes.Of(network), AdjointFrom.Number);
        var (train, images) = Images.TrainBatches(Batch.Number, Seed.Number, terminal, cancellation);
        var (test, _) = Images.TestBatches(ImagesGroup.TestBatch, Seed.Number, terminal, cancellation);
        ResNetOptions Options(NetworkSize size, Reconstruction method) => Network.Staged(
            network, size, planes, adjointFrom, stage with { Reconstruction = method }, images.Classes, memory);
        foreach (var (size, method) in sizes.SelectMany(size => methods.Select(method => (size, method))))
        {
            var load = Workload.Of(options, Batch.Number, images, Images.Pixels);
            NetworkGroup.Check("sizes", Options(size, method), load);
            if (memory is not null)
            {
                using var planned = NetworkGroup.Build(Options(size, method), Seed.Number);
                Memory.Plan($"{size}, {method}", planned, load);
            }
        }

        var folder = RunFolder.Open(this);
        Memory.Show(terminal);
        var rows = new List<TiedRow>();
        var series = new List<Series>();
        foreach (var (s, size) in sizes.Index())
        {
            foreach (var method in methods)
            {
                using var model = NetworkGroup.Build(Options(size, method), Seed.Number);
                var run = new TrainingRun(folder.Part($"{size}-{method}".Replace(':', '_')), terminal, $"{size}, {method}");
                var own = run.Go(model, options, train, test, null, cancellation).Select(m => new TiedRow(
                    size.ToString(), method.ToString(), m.Epoch, m.TrainLoss, m.TrainAccuracy, m.TestLoss, m.TestAccuracy,
                    m.ReconstructionError, m.Seconds)).ToList();
                own.ForEach(terminal.Row);
                rows.AddRange(own);
                series.Add(new Series(
                    $"{size}, {method}", [.. own.Select(r => (double)r.Epoch)], [.. own.Select(r => 100 * r.TestAccuracy)],
                    PaperFigure.ColourAt(s))
                {
                    Stroke = method.IsMemoryFree ? Stroke.Dashed : Stroke.Solid,
                    Marker = method.IsMemoryFree ? Marker.Circle : Marker.Disc,
                });
            }
        }

        folder.WriteCsv("tied.csv", rows);
        terminal.Table(rows);
        var title = $"{(network == "tied" ? "Tied weights" : network)} on {images.Name}: solid backprop, dashed adjoint";
        terminal.Say("figure: " + PaperFigure.Save(folder, "tied", title, "Epoch", "Test accuracy (%)", series));
        folder.Finish(
            terminal, $"Training with tied weights on {images.Name}",
            [.. sizes.Select(size => Judge(size.ToString(), rows, images.Classes)).OfType<Finding>()]);
    }

    private static Finding? Judge(string size, List<TiedRow> rows, int classes)
    {
        double? Best(bool memoryFree) => rows
            .Where(r => r.Size == size && Reconstruction.Parse(r.Reconstruction).IsMemoryFree == memoryFree)
            .Select(r => (double?)r.TestAccuracy).Max();
        return Best(memoryFree: true) is not { } adjoint || Best(memoryFree: false) is not { } stored
            ? null
            : new(
                $"Tied weights train with the adjoint as with backprop ({size})",
                $"best test accuracy {adjoint:0.0 %} with the adjoint, {stored:0.0 %} with stored states",
                stored < 2.0 / classes ? null : adjoint > stored - 0.02);
    }
}
