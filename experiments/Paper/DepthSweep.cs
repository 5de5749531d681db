using System.Globalization;
using System.Runtime.ExceptionServices;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Paper;

/// <summary>One run of the sweep.</summary>
internal sealed record SweepRow(
    string Solver,
    string Reconstruction,
    int Depth,
    int Seed,
    double BestTestAccuracy,
    double TestError);

/// <summary>Test error against depth.</summary>
[Verb("depth-sweep", HelpText = "Test error against depth: {ResNet, HeunNet} x {backprop, adjoint} x depths x seeds.")]
[Page(
    "Figure 3c of arXiv 2205.14612. Each run is a 'train' in its own folder; --resume skips finished runs and repeats "
    + "broken ones.",
    "resnet-nodes depth-sweep --preset small                        (minutes on 2 cores)",
    "resnet-nodes depth-sweep --preset paper --data cifar-10-binary.tar.gz --jobs 4")]
[PaperRow("figure 3c", order: 9)]
[JsonRows(typeof(SweepRow))]
[Defaults("depths=2,4,8,16,32,64", "reconstructions=backprop,adaptive", "epochs=90", "schedule=thirds")]
[Meaning("planes", "Channels of the stage [16].")]
[Meaning("zero-init", "Start every residual function at 0, its last batch normalization's weight being 0 [true].")]
[Meaning("depths", "Residual functions (HeunNet needs 2).")]
[Meaning("solvers", "Solvers to compare: ResNet is euler, HeunNet heun.")]
[Meaning("reconstructions", "Stored states and adjoints: {methods}.")]
[Meaning("epochs", "Epochs of each run.")]
[Preset("smoke", "dataset=synthetic", "limit=100", "planes=2", "depths=2,4", "seeds=1", "epochs=1", "batch=50")]
[Preset("small", "depths=2,4,8,16", "seeds=1,2", "limit=6000", "epochs=3", "planes=8", "batch=64")]
[Preset(
    "paper",
    "dataset=cifar10", "depths=2,4,8,16,32,64", "seeds=1,2,3,4,5", "batch=256", "epochs=90", "reconstructions=backprop,inverse")]
internal sealed class DepthSweep : Experiment
{
    [Option("seeds", Default = "1,2,3,4,5", MetaValue = "S,S,...", HelpText = "Seeds, a run each.")]
    [Section("training")]
    public string Seeds { get => Given(); set => Set(value); }

    [Option("scale-rate", HelpText =
        "Multiply the learning rate of the residual functions by the depth (the paper's 'adaptive' option).")]
    [Section("training")]
    public bool? ScaleRate { get => Switch(); set => Set(value); }

    [Option('j', "jobs", Default = "1", MetaValue = "N", HelpText = "Runs at a time.")]
    [Section("run")]
    [MayChange]
    public string Jobs { get => Given(); set => Set(value); }

    public NetworkGroup Network { get; } = new("tiny");

    public DepthsGroup Depths { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolversGroup Solvers { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public ScheduleGroup Schedule { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public DeviceGroup Device { get; } = new();

    private sealed record Point(string Solver, Reconstruction Method, int Depth, int Seed)
    {
        public string Folder => $"{Solver}-{Method}-{Depth}-{Seed}".Replace(':', '_');
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        _ = Network.Name;
        var (solvers, methods, depths) = (Solvers.Values.Select(s => s.Name).ToList(), Methods.Values, Depths.Numbers);
        var seeds = Read.Wholes("seeds", Seeds);
        var jobs = Read.Whole("jobs", Jobs);
        // The runs read these again; what is wrong, or not there, is known before the first of them.
        var options = Schedule.On(Optimization.On(Device.Value));
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
        var points = (
            from seed in seeds
            from depth in depths
            from solver in solvers
            from method in methods
            select new Point(solver, method, depth, seed)).ToList();
        var runs = points.ConvertAll(point => (Path: folder.NewRun(point.Folder), Words: WordsOf(point, folder.File(point.Folder), jobs)));
        var rows = new SweepRow[points.Count];
        var done = 0;
        Each(points.Count, jobs, cancellation, (i, goOn) =>
        {
            var point = points[i];
            rows[i] = folder.Point(point.Folder, () => Train(point, runs[i].Path, runs[i].Words, goOn));
            lock (rows)
            {
                terminal.Progress((double)++done / points.Count, $"{point.Folder}: test error {rows[i].TestError:0.0} %");
                terminal.Say($"{point.Folder}: test error {rows[i].TestError:0.00} % ({done} of {points.Count})");
                terminal.Row(rows[i]);
            }
        });

        folder.WriteCsv("depth-sweep.csv", rows);
        terminal.Table(rows);
        terminal.Say("figure: " + Draw(folder, solvers, methods, depths, rows));
        folder.Finish(
            terminal, $"Test error against depth on {Images.Dataset}, {seeds.Count} seeds", Judge(solvers, methods, depths, rows));
    }

    // The first failure ends the others, and is the one to tell.
    private static void Each(int count, int jobs, CancellationToken cancellation, Action<int, CancellationToken> work)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        ExceptionDispatchInfo? first = null;
        try
        {
            Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = jobs, CancellationToken = stop.Token }, i =>
            {
                try
                {
                    work(i, stop.Token);
                }
                catch (Exception exception)
                {
                    Interlocked.CompareExchange(ref first, ExceptionDispatchInfo.Capture(exception), null);
                    stop.Cancel();
                }
            });
        }
        catch (OperationCanceledException)
        {
            first?.Throw();
            throw;
        }

        first?.Throw();
    }

    // A run that was ended before goes on.
    private List<string> WordsOf(Point point, string path, int jobs) => WordsFor(
        typeof(Train), ("depth", $"{point.Depth}"), ("solver", point.Solver), ("reconstruction", point.Method.ToString()),
        ("seed", $"{point.Seed}"), ("stage-rate-factor", ScaleRate == true ? $"{point.Depth}" : "1"),
        ("threads", Threads.Text ?? $"{Math.Max(1, Environment.ProcessorCount / jobs)}"), ("out", path),
        ("resume", Directory.Exists(path) ? "true" : null), ("quiet", "true"));

    // A process each, so that --jobs runs do not share a heap, and a broken one takes nothing along.
    private static SweepRow Train(Point point, string path, List<string> words, CancellationToken cancellation)
    {
        OwnProcess.Run(words, path, cancellation);
        var best = Checkpoint.ReadHistory(Path.Combine(path, TrainingRun.CheckpointName)).Max(epoch => epoch.TestAccuracy);
        return new(point.Solver, point.Method.ToString(), point.Depth, point.Seed, best, 100 * (1 - best));
    }

    private static string Draw(
        RunFolder folder,
        IReadOnlyList<string> solvers,
        IReadOnlyList<Reconstruction> methods,
        IReadOnlyList<int> depths,
        SweepRow[] rows)
    {
        var series = new List<Series>();
        foreach (var (solver, method) in solvers.SelectMany(s => methods.Select(m => (s, m))))
        {
            double[] At(double share) => [.. depths.Select(depth => Quantile(rows, solver, method.ToString(), depth, share))];
            series.Add(new Series(
                $"{PaperFigure.NetworkOf(solver)}, {method}", [.. depths.Select(d => (double)d)], At(0.5),
                PaperFigure.ColourOf(solver))
            {
                Stroke = method.IsMemoryFree ? Stroke.Dashed : Stroke.Solid,
                Marker = method.IsMemoryFree ? Marker.Circle : Marker.Disc,
                Band = (At(0.25), At(0.75)),
            });
        }

        const string title = "Test error against depth: solid backprop, dashed adjoint";
        return PaperFigure.Save(folder, "depth-sweep", title, new Panel("Depth N", "Test error (%)", series)
        {
            LogX = true,
            LogY = true,
            TicksX = [.. depths.Select(d => ((double)d, d.ToString(CultureInfo.InvariantCulture)))],
            TicksY = [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 35, 40, 50, 60, 75, 90],
        });
    }

    private static double Quantile(SweepRow[] rows, string solver, string method, int depth, double share) => Fit.Quantile(
        rows.Where(r => r.Solver == solver && r.Reconstruction == method && r.Depth == depth).Select(r => r.TestError), share);

    private static List<Finding> Judge(
        IReadOnlyList<string> solvers, IReadOnlyList<Reconstruction> methods, IReadOnlyList<int> depths, SweepRow[] rows)
    {
        var stored = methods.FirstOrDefault(m => !m.IsMemoryFree)?.ToString();
        var findings = new List<Finding>();
        if (stored is null)
        {
            return findings;
        }

        // What seeds alone do to the error; with one seed nothing can be told from it.
        var spread = rows.GroupBy(r => (r.Solver, r.Reconstruction, r.Depth)).Where(g => g.Count() > 1)
            .Select(g => g.Max(r => r.TestError) - g.Min(r => r.TestError)).DefaultIfEmpty(double.NaN).Max();
        foreach (var adjoint in methods.Where(m => m.IsMemoryFree).Select(m => m.ToString()))
        {
            double Gap(string solver, int depth) =>
                Quantile(rows, solver, adjoint, depth, 0.5) - Quantile(rows, solver, stored, depth, 0.5);
            foreach (var solver in solvers)
            {
                var (own, other) = (Quantile(rows, solver, adjoint, depths.Max(), 0.5), Quantile(rows, solver, stored, depths.Max(), 0.5));
                findings.Add(new(
                    $"Adjoint and backprop agree at large depth ({PaperFigure.NetworkOf(solver)}, {adjoint})",
                    $"test error {own:0.0} % and {other:0.0} % at depth {depths.Max()}; at depth {depths[0]} they differ by "
                        + $"{Math.Round(Gap(solver, depths[0]), 1):+0.0;-0.0;0.0}; {Scatter(spread)}",
                    double.IsNaN(spread) ? null : Gap(solver, depths[^1]) <= Math.Max(spread, 1)));
            }

            if (solvers.Contains("euler") && solvers.Contains("heun"))
            {
                findings.Add(OfNeed(adjoint, depths, spread, Gap));
            }
        }

        return findings;
    }

    private static string Scatter(double spread) =>
        double.IsNaN(spread) ? "one seed alone says nothing about the scatter" : $"seeds differ by up to {spread:0.0}";

    // The paper's claim of its two networks.
    private static Finding OfNeed(string adjoint, IReadOnlyList<int> depths, double spread, Func<string, int, double> gap)
    {
        int Needed(string solver) => depths.First(d => Math.Abs(gap(solver, d)) <= spread || d == depths.Max());
        var shown = depths.Any(d => Math.Abs(gap("euler", d)) > spread || Math.Abs(gap("heun", d)) > spread);
        var same = double.IsNaN(spread)
            ? Scatter(spread)
            : $"{adjoint} matches backprop within the scatter of seeds ({spread:0.0}) at every depth, with both solvers";
        return new(
            $"HeunNet needs fewer layers than ResNet for the adjoint to match backprop ({adjoint})",
            shown ? $"within the scatter of seeds from depth {Needed("heun")} on for HeunNet, {Needed("euler")} for ResNet" : same,
            shown ? Needed("heun") <= Needed("euler") : null);
    }
}
