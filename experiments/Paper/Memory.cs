using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Measuring;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// Memory of training steps at one depth; or, with no depth, bytes that a layer adds, by least squares over the depths from 2 on, with
/// their standard errors (none with two depths).
/// </summary>
internal sealed record MemoryRow(
    string Network,
    string Reconstruction,
    int? Depth,
    long? PeakBytes,
    long? StepBytes,
    double? BytesPerLayer,
    double? StandardError,
    double? PeakBytesPerLayer,
    double? PeakStandardError);

/// <summary>What one part of a network takes of the memory of a training step (<see cref="PartMemory"/>).</summary>
internal sealed record MemoryPartRow(
    string Network, string Reconstruction, int Depth, string Part, long KeptBytes, long ForwardBytes, long BackwardBytes);

/// <summary>What a point's process has measured.</summary>
internal sealed record MemoryResult(MemoryRow Row, IReadOnlyList<MemoryPartRow> Parts);

/// <summary>Peak memory against depth.</summary>
[Verb("memory", HelpText = "Peak memory of a training step against depth: flat for the adjoint.")]
[Page(
    "The memory figure of arXiv 2205.14612. Each point runs in a process of its own. Of networks of stages it also tells "
    + "what stem, blocks, stages and head take: kept for the backward pass, and worked with at most in either pass. With "
    + "--budget-sweep: time against memory of one network, within budgets from the least to the most, and with methods beside them.",
    "resnet-nodes memory --network tiny --depths 16,64,256 --reconstructions adaptive,backprop    (1 minute on 2 "
    + "cores)",
    "resnet-nodes memory --network linear --depths 1,101,201,301 --json                           (30 seconds)",
    "resnet-nodes memory --budget-sweep 10 --network ode --size 101 --planes 64 --image 64 --classes 1000 --batch 32    (15 "
    + "minutes)")]
[PaperRow("memory experiment", order: 2)]
[JsonRows(typeof(MemoryRow), typeof(MemoryPartRow), typeof(BudgetRow))]
[Defaults("depths=16,64,256", "planes=16")]
[Meaning("depths", "Layers; blocks of the third of four stages; one number with --budget-sweep.")]
[Meaning("planes", "Channels of TinyResNet's stage, or planes of the first of four stages (not for linear).")]
[Meaning("reconstructions", "Methods to measure: {methods}; with --budget-sweep checkpoint too, unless given.")]
[Meaning("batch", "Images in a step (not for linear).")]
[Preset("smoke", "network=tiny,linear", "planes=4", "batch=32", "depths=16,64")]
[Preset("small", "network=linear,tiny,ode", "depths=32,64,128,256,512", "planes=8", "batch=64")]
[Preset("paper", "network=linear", "depths=1,51,101,151,201,251,301", "reconstructions=inverse,adaptive,backprop")]
internal sealed class Memory : Experiment
{
    [Option('n', "network", Default = "tiny", MetaValue = "tiny,linear,resnet,ode,tied", HelpText =
        "TinyResNet; the paper's Linear(500→8)–tanh–Linear(8→500), one function shared by all layers; or networks of "
        + "stages "
        + "[3, 4, N, 3], basic blocks.")]
    [Section("model")]
    public string Network { get => Given(); set => Set(value); }

    [Option("budget-sweep", MetaValue = "N", HelpText =
        "Instead of depths: time and memory within N budgets, from the least to the most that the network has a use for.")]
    [Section("method")]
    public string? BudgetCount { get => Optional(); set => Set(value); }

    [Option("image", MetaValue = "N", HelpText = "Rows and columns of images, for networks of stages (default: 32).")]
    [Section("data")]
    public string? Image { get => Optional(); set => Set(value); }

    [Option("classes", Default = "10", MetaValue = "N", HelpText =
        "Classes; with 1000, networks of stages begin as for ImageNet (not for linear).")]
    [Section("data")]
    public string Classes { get => Given(); set => Set(value); }

    public DepthsGroup Depths { get; } = new();

    [Option("size", MetaValue = SizeGroup.Syntax, HelpText =
        "With --budget-sweep, blocks of a network of stages in place of [3, 4, N, 3].")]
    [Section("model")]
    public string? Size { get => Optional(); set => Set(value); }

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
            Unused("classes", "--network linear has none");
        }

        if (!networks.Any(IsStaged))
        {
            Unused("image", $"--network {string.Join(',', networks)} has images of a fixed size, or none");
        }

        // The child processes read these too; what is wrong should be known before the first of them has run.
        var (precision, device) = (Precision.Name, Device.Value);
        if (BudgetCount is { } count)
        {
            Sweep(Read.Whole("budget-sweep", count), networks, terminal, cancellation);
            return;
        }

        Unused("size", "the networks of stages are [3, 4, N, 3] with N of --depths; --size is for --budget-sweep");
        foreach (var (network, method) in networks.SelectMany(n => methods.Select(m => (n, m))))
        {
            var stage = new StageOptions { Solver = Solver.Value, Reconstruction = method, ComputeType = Precision.ComputeType };
            foreach (var depth in depths)
            {
                Check(network, SizeOf(depth), depth, stage, "depths");
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
            if (LineOf(points, p => p.StepBytes) is { } step && LineOf(points, p => p.PeakBytes) is { } peak)
            {
                rows.Add(new(
                    network, method.ToString(), null, null, null, step.Slope, step.StandardError, peak.Slope, peak.StandardError));
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

    private static bool IsStaged(string network) => network is not ("tiny" or "linear");

    private static NetworkSize SizeOf(int depth) => NetworkSize.Custom([3, 4, depth, 3], bottleneck: false);

    // What a process of a point needs: it has SGD with momentum.
    private void Check(string network, NetworkSize size, int depth, StageOptions stage, string option)
    {
        const int copies = 3;
        if (network == "linear")
        {
            NetworkGroup.Check("depths", stage.Solver, depth);
            const int width = MemoryPoint.LinearWidth;
            MemoryNeed.RequireStates($"--depths is {depth}", "--depths", stage, new(Device.Value, width, 0, copies), width, depth);
            return;
        }

        var load = LoadOf(network) with { Copies = copies };
        if (network == "tiny")
        {
            NetworkGroup.Check(option, Tiny(depth, stage), load);
        }
        else
        {
            NetworkGroup.Check(option, Staged(network, size, stage), load, option == "size" ? null : $"{depth}");
        }
    }

    private Workload LoadOf(string network)
    {
        const int usual = 32;
        return new(Device.Value, Batch.Number, IsStaged(network) && Image is { } text ? Read.Whole("image", text) : usual, 1);
    }

    private TinyResNetOptions Tiny(int depth, StageOptions stage) =>
        new() { Depth = depth, Planes = Planes.Of("tiny"), Classes = Read.Whole("classes", Classes), Stage = stage };

    private ResNetOptions Staged(string network, NetworkSize size, StageOptions stage) => new()
    {
        Kind = Read.Kind(network),
        Size = size,
        Planes = Planes.Of(network),
        Classes = Read.Whole("classes", Classes),
        Stage = stage,
    };

    // One network within budgets; networks and what all runs read are checked.
    private void Sweep(int count, IReadOnlyList<string> networks, Terminal terminal, CancellationToken cancellation)
    {
        var network = networks[0];
        if (networks.Count > 1 || network == "linear")
        {
            throw new UsageException($"--budget-sweep is of one network, tiny or one of stages; --network is {Read.Shown(Network)}");
        }

        NetworkSize? given = Size is { } text ? Read.Checked("size", text, NetworkSize.Parse) : null;
        if (given is not null)
        {
            Unused("depths", "--size says how many blocks there are");
            if (!IsStaged(network))
            {
                throw new UsageException($"--size is {given}, but --network {network} has a depth; take --depths");
            }
        }
        else if (Depths.Numbers.Count > 1)
        {
            throw new UsageException($"--budget-sweep is of one network; --depths is {Depths.Text}, take one of them");
        }

        var (depth, option) = (given is null ? Depths.Numbers[0] : 0, given is null ? "depths" : "size");
        var size = given ?? SizeOf(depth);
        IReadOnlyList<Reconstruction> methods = Options.First(o => o.Name == "reconstructions").IsChanged
            ? Methods.Values
            : [Reconstruction.Backprop, Reconstruction.Checkpoint(), Reconstruction.Adaptive()];
        var reconstructs = methods.FirstOrDefault(method => method.IsMemoryFree) ?? Reconstruction.Adaptive();
        var stage = new StageOptions
        {
            Solver = Solver.Value,
            Reconstruction = reconstructs,
            ComputeType = Precision.ComputeType,
            AccumulateGradientsInPlace = true,
        };
        foreach (var method in methods.Append(reconstructs))
        {
            Check(network, size, depth, stage with { Reconstruction = method }, option);
        }

        // From the least to the most that it has a use for.
        var most = (long)Limits.Of("memory").Most;
        using nn.Module<Tensor, Tensor> model = network == "tiny"
            ? NetworkGroup.Build(Tiny(depth, stage) with { MemoryBudget = most }, Seed.Number)
            : NetworkGroup.Build(Staged(network, size, stage) with { MemoryBudget = most }, Seed.Number);
        model.to(Device.Value);
        var plan = MemoryGroup.Prepare(NetworkGroup.PlannerOf(model)!, LoadOf(network));
        var folder = RunFolder.Open(this);
        (string, string?) built = IsStaged(network) ? ("size", $"{size}") : ("depth", $"{depth}");
        var sweep = new BudgetSweep(network, own => WordsFor(typeof(MemoryPoint), [("network", network), built, .. own]));
        var findings = sweep.Run(folder, BudgetSweep.Budgets(plan, count), reconstructs, methods, terminal, cancellation);
        folder.Finish(
            terminal, $"Time and memory of training steps of {network}, {built.Item2}, functions in {Precision.Name}",
            findings);
    }

    private MemoryResult Point(string network, Reconstruction method, int depth, CancellationToken cancellation)
    {
        var words = WordsFor(
            typeof(MemoryPoint), ("network", network), ("depth", $"{depth}"), ("size", $"{SizeOf(depth)}"),
            ("reconstruction", method.ToString()));
        var (peak, step, parts) = MemoryProcess.Measure($"{network}, {method}, depth {depth}", words, cancellation);
        return new(
            new(network, method.ToString(), depth, peak, step, null, null, null, null),
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
                PaperFigure.ColourOfMethod(method.ToString()))
            {
                Marker = method.IsMemoryFree ? Marker.Circle : Marker.Disc,
            };
        });
        // Methods are a hundredfold apart at large depth.
        var panel = new Panel("Depth N", "Peak memory beyond rest (MiB)", [.. series])
        {
            LogX = true,
            LogY = true,
            TicksX = [.. rows.Select(r => r.Depth).OfType<int>().Distinct().Order().Select(n => ((double)n, $"{n}"))],
        };
        return PaperFigure.Save(folder, $"memory-{network}", TitleOf(network, rows), panel);
    }

    // What the deepest network needs, of the methods that need the least and the most.
    private static string TitleOf(string network, List<MemoryRow> rows)
    {
        var deepest = rows.Where(r => r.Depth is not null).GroupBy(r => r.Depth).MaxBy(depth => depth.Key)!
            .Where(r => r.StepBytes is not null).OrderBy(r => r.StepBytes).ToList();
        var of = $"Memory of a training step, {network}";
        return deepest is [var least, .., var most]
            ? $"{of}: at depth {most.Depth}, {MemoryGroup.Mebibytes(least.StepBytes!.Value)} MiB with {least.Reconstruction}, "
                + $"{MemoryGroup.Mebibytes(most.StepBytes!.Value)} MiB with {most.Reconstruction}"
            : of;
    }

    // One layer has no states between layers, and none of what goes from each to the next: that it has less is no slope.
    private static Line? LineOf(IEnumerable<MemoryRow> rows, Func<MemoryRow, long?> bytes)
    {
        var points = rows.Where(row => row.Depth > 1).ToList();
        return points.Count < 2 ? null : Fit.Line([.. points.Select(p => (double)p.Depth!)], [.. points.Select(p => (double)bytes(p)!)]);
    }

    private static Finding? Judge(string network, List<MemoryRow> rows)
    {
        Line? Of(Func<Reconstruction, bool> of)
        {
            var own = rows.Where(r => r.Network == network && r.Depth is not null).GroupBy(r => r.Reconstruction)
                .FirstOrDefault(method => of(Reconstruction.Parse(method.Key)));
            return own is null ? null : LineOf(own, p => p.StepBytes);
        }

        return Of(m => m.IsMemoryFree) is not { } flat || Of(m => m == Reconstruction.Backprop) is not { } linear
            ? null
            : new(
                $"Memory is flat in depth with the adjoint, linear with backprop ({network})",
                $"{Shown(flat)} with the adjoint, {Shown(linear)} with backprop",
                flat.IsBelow(Math.Max(0.01 * linear.Slope, 4096)));
    }

    private static string Shown(Line line) => line.Interval.HalfWidth switch
    {
        double.PositiveInfinity => $"{line.Slope:N0} bytes a layer (of two depths, no error is known)",
        var half when Math.Abs(line.Slope) < half => $"nothing above the noise of {half:N0} bytes a layer",
        _ => $"{line.Text("N0")} bytes a layer",
    };
}
