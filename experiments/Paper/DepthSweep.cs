using System.Globalization;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Paper;

/// <summary>One run of the sweep. A network that diverged has the error of guessing.</summary>
internal sealed record SweepRow(
    string Solver,
    string Reconstruction,
    int Depth,
    int Seed,
    double BestTestAccuracy,
    double TestError,
    bool Diverged);

/// <summary>Test error against depth.</summary>
[Verb("depth-sweep", HelpText = "Test error against depth: {ResNet, HeunNet} x {backprop, adjoint} x depths x seeds.")]
[Page(
    "Figure 3c of arXiv 2205.14612. Each run is a 'train' in its own folder; --resume skips finished runs and repeats "
    + "broken ones. mpirun -n K shares them out to K processes.",
    "resnet-nodes depth-sweep --preset small                        (minutes on 2 cores)",
    "resnet-nodes depth-sweep --preset paper --data cifar-10-binary.tar.gz --jobs 4")]
[PaperRow("figure 3c", order: 9)]
[Ranked(sharesRuns: true)]
[JsonRows(typeof(SweepRow))]
[Defaults("depths=2,4,8,16,32,64", "reconstructions=backprop,adaptive", "epochs=90", "schedule=thirds", "seeds=1,2,3,4,5")]
[Meaning("planes", "Channels of the stage [16].")]
[Meaning("zero-init", "Start every residual function at 0, its last batch normalization's weight being 0 [true].")]
[Meaning("depths", "Residual functions (HeunNet needs 2).")]
[Meaning("solvers", "Solvers to compare: ResNet is euler, HeunNet heun.")]
[Meaning("reconstructions", "Stored states and adjoints: {methods}.")]
[Meaning("epochs", "Epochs of each run.")]
[Preset("smoke", "dataset=synthetic", "limit=100", "planes=2", "depths=2,4", "seeds=1", "epochs=1", "batch=50")]
[Preset(
    "small",
    "depths=2,4,8,16,32", "reconstructions=backprop,inverse,adaptive", "seeds=1,2,3,4,5", "jobs=2", "limit=8000", "epochs=5",
    "schedule=cosine", "planes=8", "batch=64", "zero-init=false")]
[Preset(
    "paper",
    "dataset=cifar10", "depths=2,4,8,16,32,64", "seeds=1,2,3,4,5", "batch=256", "epochs=90", "reconstructions=backprop,inverse")]
internal sealed class DepthSweep : Experiment
{
    [Option("scale-rate", HelpText =
        "Multiply the learning rate of the residual functions by the depth (the paper's 'adaptive' option).")]
    [Section("training")]
    public bool? ScaleRate { get => Switch(); set => Set(value); }

    public NetworkGroup Network { get; } = new("tiny");

    public DepthsGroup Depths { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolversGroup Solvers { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

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

    private sealed record Point(string Solver, Reconstruction Method, int Depth, int Seed)
    {
        public string Key => $"{Solver}-{Method}-{Depth}-{Seed}".Replace(':', '_');

        public Child Child(bool scaleRate) => new(
            Key, typeof(Train), ("depth", $"{Depth}"), ("solver", Solver), ("reconstruction", Method.ToString()), ("seed", $"{Seed}"),
            ("stage-rate-factor", scaleRate ? $"{Depth}" : "1"));
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        _ = Network.Name;
        var (solvers, methods, depths) = (Solvers.Values.Select(s => s.Name).ToList(), Methods.Values, Depths.Numbers);
        var seeds = Seeds.Numbers;
        // The runs read these again; what is wrong, or not there, is known before the first of them.
        var options = Saving.On(Schedule.On(Rate.On(Optimization.On(Device.Value))));
        var (images, _) = Images.Load(true, seeds[0], terminal, cancellation);
        var load = Workload.Of(options, Batch.Number, images, Images.Pixels);
        foreach (var (solver, method) in Solvers.Values.SelectMany(s => methods.Select(m => (s, m))))
        {
            var stage = Execution.On(new StageOptions { Solver = solver, Reconstruction = method });
            foreach (var depth in depths)
            {
                NetworkGroup.Check("depths", Network.Tiny(depth, Planes.Of("tiny"), stage, images.Classes), load);
            }
        }

        var folder = RunFolder.Open(this);
        var children = new Children(folder, this, Jobs);
        var points = (
            from seed in seeds
            from depth in depths
            from solver in solvers
            from method in methods
            select new Point(solver, method, depth, seed)).ToList();
        SweepRow RowOf(Point point, TrainedNetwork trained)
        {
            var best = trained.BestAccuracy(images.Classes);
            return new(
                point.Solver, point.Method.ToString(), point.Depth, point.Seed, best, 100 * (1 - best), trained.Diverged);
        }

        var trained = children.Run(
            points.ConvertAll(point => point.Child(ScaleRate == true)),
            TrainedNetwork.Of,
            (i, network) =>
            {
                var row = RowOf(points[i], network);
                terminal.Say($"{points[i].Key}: test error {row.TestError:0.00} %{(row.Diverged ? " (diverged)" : string.Empty)}");
                terminal.Row(row);
            },
            terminal,
            cancellation);
        List<SweepRow> rows = [.. points.Zip(trained, RowOf)];
        folder.WriteCsv("depth-sweep.csv", rows);
        terminal.Table(rows);
        var sweep = new SweepStatements(rows, solvers, methods, depths, images.Classes);
        terminal.Say("figure: " + Draw(folder, sweep, solvers, methods, depths));
        folder.Finish(terminal, $"Test error against depth on {Images.Dataset}, {seeds.Count} seeds", sweep.Findings);
    }

    private static string Draw(
        RunFolder folder,
        SweepStatements sweep,
        IReadOnlyList<string> solvers,
        IReadOnlyList<Reconstruction> methods,
        IReadOnlyList<int> depths)
    {
        Series Line(string solver, Reconstruction method)
        {
            // The paper's own two in the colour of their network.
            var isPapers = method == Reconstruction.Inverse || !method.IsMemoryFree;
            var name = method.ToString();
            return Series.OfQuartiles(
                name, [.. depths.Select(d => (double)d)], i => sweep.Errors(solver, name, depths[i]),
                isPapers ? PaperFigure.ColourOf(solver) : PaperFigure.ColourOfMethod(name)) with
            {
                Stroke = !method.IsMemoryFree ? Stroke.Solid : isPapers ? Stroke.Dashed : Stroke.Dotted,
                Marker = !method.IsMemoryFree ? Marker.Disc : isPapers ? Marker.Circle : Marker.Triangle,
            };
        }

        var (least, most) = (sweep.All.Min(), sweep.All.Max());
        return PaperFigure.Save(folder, "depth-sweep", sweep.Title,
        [
            .. solvers.Select(solver => new Panel("Depth N", "Test error (%)", [.. methods.Select(method => Line(solver, method))])
            {
                Title = PaperFigure.NetworkOf(solver),
                LogX = true,
                LogY = true,
                RangeY = (least, most),
                TicksX = [.. depths.Select(d => ((double)d, d.ToString(CultureInfo.InvariantCulture)))],
            }),
        ]);
    }
}
