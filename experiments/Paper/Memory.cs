using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Measuring;
using ResNetNodes.Networks;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// Memory of training steps at one depth; or, with no depth, bytes that a layer adds, by least squares over the depths.
/// </summary>
internal sealed record MemoryRow(
    string Network,
    string Reconstruction,
    int? Depth,
    long? PeakBytes,
    long? StepBytes,
    double? BytesPerLayer,
    double? PeakBytesPerLayer);

/// <summary>What one part of a network takes of the memory of a training step (<see cref="PartMemory"/>).</summary>
internal sealed record MemoryPartRow(
    string Network, string Reconstruction, int Depth, string Part, long KeptBytes, long ForwardBytes, long BackwardBytes);

/// <summary>What a point's process has measured.</summary>
internal sealed record MemoryResult(MemoryRow Row, IReadOnlyList<MemoryPartRow> Parts);

/// <summary>Peak memory against depth.</summary>
[Verb("memory", HelpText = "Peak memory of a training step against depth: flat for the adjoint.")]
[Page(
    "The memory figure of arXiv 2205.14612. Each point runs in a process of its own. Of networks of stages it also tells "
    + "what stem, blocks, stages and head take: kept for the backward pass, and worked with at most in either pass.",
    "resnet-nodes memory --network tiny --depths 16,64,256 --reconstructions adaptive,backprop    (1 minute on 2 "
    + "cores)",
    "resnet-nodes memory --network linear --depths 1,101,201,301 --json                           (30 seconds)")]
[PaperRow("memory experiment", order: 2)]
[JsonRows(typeof(MemoryRow), typeof(MemoryPartRow))]
[Defaults("depths=16,64,256", "planes=16")]
[Meaning("depths", "Layers; blocks of the third of four stages.")]
[Meaning("planes", "Channels of TinyResNet's stage, or planes of the first of four stages (not for linear).")]
[Meaning("reconstructions", "Methods to measure: {methods}.")]
[Meaning("batch", "Images in a step (not for linear).")]
[Preset("smoke", "network=tiny,linear", "planes=4", "batch=32", "depths=16,64")]
[Preset("small", "network=linear,tiny,ode", "depths=8,32,128", "planes=8", "batch=32")]
[Preset("paper", "network=linear", "depths=1,51,101,151,201,251,301", "reconstructions=inverse,adaptive,backprop")]
internal sealed class Memory : Experiment
{
    [Option('n', "network", Default = "tiny", MetaValue = "tiny,linear,resnet,ode,tied", HelpText =
        "TinyResNet; the paper's Linear(500→8)–tanh–Linear(8→500), one function shared by all layers; or networks of "
        + "stages "
        + "[3, 4, N, 3], basic blocks.")]
    [Section("model")]
    public string Network { get => Given(); set => Set(value); }

    public DepthsGroup Depths { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

    public PrecisionGroup Precision { get; } = new();

    public BatchGroup Batch { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var networks = Read.Several("network", Network, n => Read.OneOf("network", n, MemoryPoint.Networks));
        var (depths, methods) = (Depths.Numbers, Methods.Values);
        if (networks.All(network => network == "linear"))
        {
            Unused("planes", "--network linear has none");
            Unused("batch", "--network linear has an input of 500 rows");
        }

        // The child processes read these too; what is wrong should be known before the first of them has run.
        var (precision, device) = (Precision.Name, Device.Value);
        foreach (var (network, method) in networks.SelectMany(n => methods.Select(m => (n, m))))
        {
            var stage = new StageOptions { Solver = Solver.Value, Reconstruction = method, ComputeType = Precision.ComputeType };
            foreach (var depth in depths)
            {
                Check(network, depth, stage, device);
            }
        }

        var folder = RunFolder.Open(this);
        var (rows, parts) = (new List<MemoryRow>(), new List<MemoryPartRow>());
        var (done, total) = (0, networks.Count * methods.Count * depths.Count);
        foreach (var (network, method) in networks.SelectMany(n => methods.Select(m => (n, m))))
        {
            var points = new List<MemoryRow>();
            foreach (var depth in depths)
            {
                cancellation.ThrowIfCancellationRequested();
                terminal.Progress((double)done++ / total, $"{network}, {method}, depth {depth}");
                var result = folder.Point($"{network}-{method}-{depth}", () => Point(network, method, depth, cancellation));
                points.Add(result.Row);
                parts.AddRange(result.Parts);
                terminal.Row(result.Row);
                foreach (var part in result.Parts)
                {
                    terminal.Row(part);
                }
            }

            rows.AddRange(points);
            if (depths.Count > 1)
            {
                double Slope(Func<MemoryRow, long?> bytes) =>
                    Fit.Slope([.. points.Select(p => (double)p.Depth!)], [.. points.Select(p => (double)bytes(p)!)]);
                rows.Add(new(network, method.ToString(), null, null, null, Slope(p => p.StepBytes), Slope(p => p.PeakBytes)));
                terminal.Row(rows[^1]);
            }
        }

        folder.WriteCsv("memory.csv", rows);
        terminal.Table(rows);
        if (parts.Count > 0)
        {
            folder.WriteCsv("memory-parts.csv", parts);
            terminal.Table(parts);
        }

        foreach (var network in networks)
        {
            terminal.Say("figure: " + Draw(folder, network, [.. rows.Where(r => r.Network == network && r.Depth is not null)], methods));
        }

        folder.Finish(
            terminal, $"Memory of training steps on {device}, functions in {precision}",
            [.. networks.Select(n => Judge(n, rows)).OfType<Finding>()]);
    }

    private static NetworkSize SizeOf(int depth) => NetworkSize.Custom([3, 4, depth, 3], bottleneck: false);

    // What a process of a point needs: it has SGD with momentum, and images of 32×32.
    private void Check(string network, int depth, StageOptions stage, Device device)
    {
        const int pixels = 32, classes = 10, copies = 3;
        if (network == "linear")
        {
            NetworkGroup.Check("depths", stage.Solver, depth);
            const int width = MemoryPoint.LinearWidth;
            MemoryNeed.RequireStates($"--depths is {depth}", "--depths", stage, new(device, width, 0, copies), width, depth);
            return;
        }

        var load = new Workload(device, Batch.Number, pixels, copies);
        if (network == "tiny")
        {
            NetworkGroup.Check("depths", new TinyResNetOptions { Depth = depth, Planes = Planes.Of(network), Stage = stage }, load);
            return;
        }

        NetworkGroup.Check("depths", new ResNetOptions
        {
            Kind = Read.Kind(network),
            Size = SizeOf(depth),
            Planes = Planes.Of(network),
            Classes = classes,
            Stage = stage,
        }, load, $"{depth}");
    }

    private MemoryResult Point(string network, Reconstruction method, int depth, CancellationToken cancellation)
    {
        var words = WordsFor(
            typeof(MemoryPoint), ("network", network), ("depth", $"{depth}"), ("size", $"{SizeOf(depth)}"),
            ("reconstruction", method.ToString()));
        var (peak, step, parts) = MemoryProcess.Measure($"{network}, {method}, depth {depth}", words, cancellation);
        return new(
            new(network, method.ToString(), depth, peak, step, null, null),
            [.. parts.Select(part => new MemoryPartRow(
                network, method.ToString(), depth, part.Name, part.KeptBytes, part.ForwardBytes, part.BackwardBytes))]);
    }

    private static string Draw(RunFolder folder, string network, List<MemoryRow> rows, IReadOnlyList<Reconstruction> methods)
    {
        const double mebibyte = 1 << 20;
        var series = methods.Select(method =>
        {
            var own = rows.Where(r => r.Reconstruction == method.ToString()).ToList();
            return new Series(
                method.ToString(), [.. own.Select(r => (double)r.Depth!)], [.. own.Select(r => (double)r.StepBytes! / mebibyte)],
                Open: method.IsMemoryFree);
        });
        var title = $"Memory of a training step, {network}";
        return PaperFigure.Save(folder, $"memory-{network}", title, "Depth N", "Peak beyond rest (MiB)", [.. series]);
    }

    private static Finding? Judge(string network, List<MemoryRow> rows)
    {
        double? Slope(Func<Reconstruction, bool> of) => rows.FirstOrDefault(
            r => r.Network == network && r.Depth is null && of(Reconstruction.Parse(r.Reconstruction)))?.BytesPerLayer;
        return Slope(m => m.IsMemoryFree) is not { } flat || Slope(m => m == Reconstruction.Backprop) is not { } linear
            ? null
            : new(
                $"Memory is flat in depth with the adjoint, linear with backprop ({network})",
                $"{flat:N0} bytes a layer against {linear:N0}",
                flat < Math.Max(0.01 * linear, 4096));
    }
}
