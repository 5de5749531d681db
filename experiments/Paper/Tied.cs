using System.Globalization;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Paper;

/// <summary>An epoch of one run: size, method and seed, then its metrics.</summary>
internal sealed record TiedRow(
    string Size,
    string Reconstruction,
    int Seed,
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
[Preset(
    "small",
    "planes=4", "sizes=auto:2,auto:4,auto:8,auto:16", "reconstructions=backprop,inverse,adaptive", "seeds=1,2,3", "jobs=2",
    "limit=1500", "epochs=4", "batch=16", "lr=0.03", "zero-init=true")]
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

    public RateGroup Rate { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public SavingGroup Saving { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedsGroup Seeds { get; } = new();

    public JobsGroup Jobs { get; } = new();

    public DeviceGroup Device { get; } = new();

    private sealed record Point(NetworkSize Size, Reconstruction Method, int Seed)
    {
        public string Key => $"{Size}-{Method}-{Seed}".Replace(':', '_');

        public Child Child =>
            new(Key, typeof(Train), ("size", Size.ToString()), ("reconstruction", Method.ToString()), ("seed", $"{Seed}"));
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var network = Network.Name;
        var (sizes, methods, memory) = (Sizes.Values, Memory.Of(Methods.Values), Memory.Bytes);
        var seeds = Seeds.Numbers;
        // The runs read these again; what is wrong, or not there, is known before the first of them.
        var options = Saving.On(Schedule.On(Rate.On(Optimization.On(Device.Value))));
        var stage = Execution.On(new StageOptions { Solver = Solver.Value });
        var (planes, adjointFrom) = (Planes.Of(network), AdjointFrom.Number);
        var (images, _) = Images.Load(true, seeds[0], terminal, cancellation);
        ResNetOptions Options(NetworkSize size, Reconstruction method) => Network.Staged(
            network, size, planes, adjointFrom, stage with { Reconstruction = method }, images.Classes, memory);
        foreach (var (size, method) in sizes.SelectMany(size => methods.Select(method => (size, method))))
        {
            var load = Workload.Of(options, Batch.Number, images, Images.Pixels);
            NetworkGroup.Check("sizes", Options(size, method), load);
            if (memory is not null)
            {
                using var planned = NetworkGroup.Build(Options(size, method), seeds[0]);
                Memory.Plan($"{size}, {method}", planned, load);
            }
        }

        var folder = RunFolder.Open(this);
        Memory.Show(terminal);
        var points = (
            from seed in seeds
            from size in sizes
            from method in methods
            select new Point(size, method, seed)).ToList();
        var trained = new Children(folder, this, Jobs).Run(
            points.ConvertAll(point => point.Child),
            TrainedNetwork.Of,
            (i, own) =>
            {
                RowsOf(points[i], own).ForEach(terminal.Row);
                var best = own.BestAccuracy(images.Classes);
                terminal.Say($"{points[i].Key}: test accuracy {best:0.0 %}{(own.Diverged ? " (diverged)" : string.Empty)}");
            },
            terminal,
            cancellation);
        List<TiedRow> rows = [.. points.Zip(trained).SelectMany(pair => RowsOf(pair.First, pair.Second))];
        folder.WriteCsv("tied.csv", rows);
        var statements = new TiedStatements(
            [.. points.Zip(trained, (p, t) => new TiedResult(
                p.Size.ToString(), p.Method.ToString(), p.Seed, 100 * t.BestAccuracy(images.Classes), t.Diverged))],
            [.. sizes.Select(size => size.ToString())], methods, images.Classes);
        folder.WriteCsv("best.csv", statements.Results);
        terminal.Table(statements.Results);
        terminal.Say("figure: " + Draw(folder, statements, sizes, methods, network));
        folder.Finish(terminal, $"Training with tied weights on {images.Name}, {seeds.Count} seeds", statements.Findings);
    }

    private static List<TiedRow> RowsOf(Point point, TrainedNetwork trained) =>
    [
        .. trained.Epochs.Select(m => new TiedRow(
            point.Size.ToString(), point.Method.ToString(), point.Seed, m.Epoch, m.TrainLoss, m.TrainAccuracy, m.TestLoss, m.TestAccuracy,
            m.ReconstructionError, m.Seconds)),
    ];

    // Sizes auto:n are n layers a stage; of others, the deepest stage counts.
    private static string Draw(
        RunFolder folder,
        TiedStatements statements,
        IReadOnlyList<NetworkSize> sizes,
        IReadOnlyList<Reconstruction> methods,
        string network)
    {
        var layers = sizes.Select(size => size.Blocks.Max()).ToList();
        Series Line(Reconstruction method)
        {
            var name = method.ToString();
            return Series.OfQuartiles(
                name, [.. layers.Select(n => (double)n)], i => statements.Accuracies(sizes[i].ToString(), name),
                PaperFigure.ColourOfMethod(name)) with
            {
                Stroke = method.IsMemoryFree ? Stroke.Dashed : Stroke.Solid,
                Marker = method.IsMemoryFree ? Marker.Circle : Marker.Disc,
            };
        }

        var what = network == "tied" ? "Layers of a stage, n_layers, which share their weights" : "Layers of a stage, n_layers";
        return PaperFigure.Save(folder, "tied", statements.Title, new Panel(what, "Test accuracy (%)", [.. methods.Select(Line)])
        {
            LogX = true,
            TicksX = [.. layers.Distinct().Select(n => ((double)n, n.ToString(CultureInfo.InvariantCulture)))],
        });
    }
}
