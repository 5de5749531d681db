using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// Error of the input that comes back, ‖x̃_0 − x_0‖/‖x_0‖, through a stage of so many blocks; with no depth, its exponent in the
/// number of functions N − 1, with the standard error of the fit.
/// </summary>
internal sealed record DiscretizationRow(
    string Network,
    string Solver,
    string Reconstruction,
    int? Depth,
    double? RelativeError,
    double? Exponent,
    double? StandardError);

/// <summary>A round trip through one stage.</summary>
[Verb("discretization", HelpText = "Error of a round trip through stage 1 of a ResNet, against its number of blocks.")]
[Page(
    "The discretization experiment of arXiv 2205.14612: stem and first stage of a ResNet with random weights. Stage 1 of N blocks is "
    + "an ordinary one, and N − 1 residual functions (bottlenecks) that go forth and back. In the paper each has weights of its own "
    + "(ode); with the same weights for all (tied), what remains is the error of the discretization alone.",
    "resnet-nodes discretization --max-depth 1024 --planes 8 --batch 4                (1 minute on 2 cores)",
    "resnet-nodes discretization --npy images.npy --network tied --max-depth 32768 --planes 64 --batch 128")]
[PaperRow("discretization experiment", order: 3)]
[JsonRows(typeof(DiscretizationRow))]
[Defaults("reconstructions=inverse,corrected", "planes=64", "precision=float64")]
[Meaning("planes", "Planes of the stage; its state has 4 times as many channels.")]
[Meaning("reconstructions", "Ways back to compare: {methods}.")]
[Meaning("precision", "State and weights; bfloat16: functions in it, the state in float32; bfloat16-state: the state too.")]
[Meaning("batch", "Images that make the round trip.")]
[Preset("smoke", "dataset=synthetic", "limit=64", "planes=4", "batch=4", "max-depth=64")]
[Preset("small", "planes=8", "batch=4", "max-depth=1024")]
[Preset("paper", "dataset=cifar10", "planes=64", "batch=128", "max-depth=32768")]
internal sealed class Discretization : Experiment
{
    [Option('n', "network", Default = "ode,tied", MetaValue = "ode,tied", HelpText =
        "Weights of the residual functions: ode, each has its own; tied, all have the same.")]
    [Section("model")]
    public string Network { get => Given(); set => Set(value); }

    [Option("max-depth", Default = "32768", MetaValue = "N", HelpText =
        "The largest number of blocks; from 2 on, doubled.")]
    [Section("model")]
    public string MaxDepth { get => Given(); set => Set(value); }

    [Option("npy", MetaValue = "FILE", HelpText = "Normalized images [B, 3, H, W], float32, instead of --dataset.")]
    [Section("data")]
    public string? Npy { get => Optional(); set => Set(value); }

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

    public PrecisionGroup Precision { get; } = new("float64", "float32", "bfloat16", "bfloat16-state");

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    /// <summary>What is the same for every network, method and depth.</summary>
    private sealed record Setting(
        Tensor Images,
        int Planes,
        StageOptions Stage,
        string Precision,
        Device Device,
        long Seed);

    /// <summary>A line of the figure.</summary>
    private sealed record Curve(string Network, Reconstruction Method, IReadOnlyList<DiscretizationRow> Points, Line? Fit);

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var networks = Read.Several("network", Network, name => Read.OneOf("network", name, "ode", "tied"));
        var planes = Planes.Or(64);
        var most = Read.Whole("max-depth", MaxDepth);
        var (solver, methods) = (Solver.Value, Methods.Values);
        NetworkGroup.Check("max-depth", solver, most - 1);
        var depths = Enumerable.Range(1, 30).Select(i => 1 << i)
            .SkipWhile(n => n - 1 < solver.EvaluationsPerStep).TakeWhile(n => n <= most).ToList();
        if (methods.FirstOrDefault(m => !m.IsMemoryFree) is { } stored)
        {
            throw new UsageException($"--reconstructions: {stored} stores the states: there is nothing to reconstruct");
        }

        var (precision, device) = (Precision.Name, Device.Value);
        var (images, name) = Batches(terminal, cancellation);
        using var disposed = images;
        var stage = new StageOptions { Solver = solver, ReportReconstructionError = true };
        foreach (var network in networks)
        {
            Check(network, depths[^1], planes, stage, images);
        }

        var setting = new Setting(images, planes, stage, precision, device, Seed.Number);
        var folder = RunFolder.Open(this);
        var (rows, curves) = (new List<DiscretizationRow>(), new List<Curve>());
        var (done, total) = (0, networks.Count * methods.Count * depths.Sum());
        foreach (var (network, method) in networks.SelectMany(network => methods.Select(method => (network, method))))
        {
            var points = new List<DiscretizationRow>();
            foreach (var depth in depths)
            {
                cancellation.ThrowIfCancellationRequested();
                terminal.Progress((double)done / total, $"{network}, {method}, {depth} blocks");
                points.Add(folder.Point($"{network}-{method}-{depth}", () => new DiscretizationRow(
                    network, solver.Name, method.ToString(), depth, ForthAndBack(setting, network, depth, method), null, null)));
                terminal.Row(points[^1]);
                done += depth;
            }

            // The first depths are not yet in the regime of small steps.
            var fitted = points.Where(p => p.Depth >= Math.Min(16, depths[^1] / 4)).ToList();
            var line = Fit.Power(fitted.Select(p => (double)p.Depth! - 1), fitted.Select(p => p.RelativeError!.Value));
            curves.Add(new(network, method, points, line));
            rows.AddRange(points);
            rows.Add(new(network, solver.Name, method.ToString(), null, null, line?.Slope, line?.StandardError));
            terminal.Row(rows[^1]);
        }

        folder.WriteCsv("discretization.csv", rows);
        terminal.Table(rows);
        terminal.Say("figure: " + Draw(folder, networks, curves, depths, $"Round trip through stage 1, {name}, {precision}"));
        folder.Finish(
            terminal, $"Discretization error of stage 1 on {name}",
            [.. curves.Select(c => Judge(c, solver)).Where(_ => precision == "float64").OfType<Finding>()]);
    }

    // Stage 1 of a network of four stages; the others are no longer than they must be.
    private static ResNetOptions StageOneOf(string network, int depth, int planes, StageOptions stage) =>
        NetworkGroup.StagedOf(network, NetworkSize.Custom([depth, 1, 1, 1]), planes, stage, 10) with { Recompute = false };

    private void Check(string network, int depth, int planes, StageOptions stage, Tensor images)
    {
        if (Device.Value.type != DeviceType.CPU)
        {
            return;
        }

        double width = Precision.Name switch { "float64" => 8, "bfloat16-state" => 2, _ => 4 };
        var state = 4.0 * planes * images.shape[0] * images.shape[2] * images.shape[3];
        MemoryNeed.Require(
            $"--planes is {planes}, --batch {images.shape[0]} and --max-depth {MaxDepth}", "one state and the weights need",
            width * (state + ParameterCounts.Of(StageOneOf(network, depth, planes, stage))), "a smaller one of them");
    }

    private static string Draw(
        RunFolder folder, IReadOnlyList<string> networks, List<Curve> curves, List<int> depths, string title)
    {
        static double Least(Curve curve) => curve.Points.Select(r => r.RelativeError!.Value).Where(e => e > 0).DefaultIfEmpty(1e-16).Min();
        Panel PanelOf(string network) => new(
            "Blocks N", "Relative error of the input that comes back",
            [.. curves.Where(c => c.Network == network).Select(c => new Series(
                c.Fit is { } fit ? $"{c.Method}: exponent {AxisTicks.Plain((decimal)fit.Slope, 2)}" : $"{c.Method}",
                [.. c.Points.Select(r => (double)r.Depth!)], [.. c.Points.Select(r => r.RelativeError!.Value)],
                PaperFigure.ColourOfMethod($"{c.Method}")))])
        {
            Title = network == "tied" ? "The same weights in each block" : "Each block with weights of its own",
            LogX = true,
            LogY = true,
            RangeY = (curves.Min(Least), curves.Max(c => c.Points.Max(r => r.RelativeError!.Value))),
            TicksX = [.. depths.Where((_, i) => i % Math.Max(1, depths.Count / 8) == 0).Select(n => ((double)n, $"{n}"))],
        };
        var falls = curves.Where(c => c.Network == networks[0] && c.Fit is not null)
            .Select(c => $"{AxisTicks.Plain((decimal)c.Fit!.Slope, 2)} with {c.Method}").ToList();
        title += falls.Count > 0 ? ": the error falls as a power of N, " + string.Join(", ", falls) : string.Empty;
        return PaperFigure.Save(folder, "discretization", title, [.. networks.Select(PanelOf)]);
    }

    private (Tensor Images, string Name) Batches(Terminal terminal, CancellationToken cancellation)
    {
        if (Npy is not { } file)
        {
            Unused("drop-last", "only the first test batch is taken");
            var (loader, images) = Images.TestBatches(Batch.Number, Seed.Number, terminal, cancellation);
            using var batch = loader.Epoch(0).First();
            return (batch.Images.clone(), images.Name);
        }

        foreach (var option in Images.Declared.Select(pair => pair.Attribute.LongName))
        {
            Unused(option, "--npy takes the place of the data set");
        }

        using var all = NpyFile.Read(file);
        return all.shape is [_, 3, _, _]
            ? (all.narrow(0, 0, Math.Min(Batch.Number, all.shape[0])).clone(), Path.GetFileName(file))
            : throw new ResNetNodesException($"{file}: holds [{string.Join(", ", all.shape)}], expected images [B, 3, H, W]");
    }

    // By default in float64: at 32,768 blocks rounding in float32 would hide what the method leaves.
    private static double ForthAndBack(Setting setting, string network, int depth, Reconstruction method)
    {
        using var scope = NewDisposeScope();
        using var model = NetworkGroup.Build(
            StageOneOf(network, depth, setting.Planes, setting.Stage with { Reconstruction = method }), setting.Seed);
        var before = model.Parts.TakeWhile(part => part.Name != "stage1").Select(part => part.Module).ToList();
        var stage = model.Stages[0]!;
        var type = setting.Precision switch
        {
            "float64" => ScalarType.Float64,
            "bfloat16-state" => ScalarType.BFloat16,
            _ => ScalarType.Float32,
        };
        before.ForEach(part => part.to(ScalarType.Float64).to(setting.Device));
        stage.to(type).to(setting.Device);
        // Only the state comes back: no gradients of weights.
        foreach (var parameter in stage.parameters())
        {
            parameter.requires_grad = false;
        }

        stage.Options = stage.Options with
        {
            ComputeType = setting.Precision == "bfloat16" ? ComputeType.BFloat16 : ComputeType.SameAsState,
        };
        var state = before.Aggregate(setting.Images.to(ScalarType.Float64).to(setting.Device), (x, part) => part.call(x))
            .to(type).detach().requires_grad_();
        stage.call(state).pow(2).mean().BackwardThroughStages();
        return stage.LastReport!.ReconstructionError!.Value;
    }

    // The reverse step's error is of the order of `inverse`; each fixed point on the way gains a power of h. Where each block has weights
    // of its own there is no flow behind them, and a solver's higher order is lost; but what the steps add is independent, and grows as
    // √N in place of N: half a power is gained.
    private static Finding? Judge(Curve curve, Solver solver)
    {
        var (method, isTied) = (curve.Method.ToString(), curve.Network == "tied");
        double? order = method switch
        {
            "inverse" => isTied ? solver.Order : 1.5,
            "corrected" when solver.Order == 1 => isTied ? 2 : 2.5,
            _ => null,
        };
        return order is not { } expected || curve.Fit is not { } line
            ? null
            : new(
                $"{Heading(method == "inverse", isTied)} error of {method} falls as N^−{expected:0.#} ({solver.Name}"
                    + (isTied ? ", tied weights)" : ")"),
                $"as N to the power {line.Text("0.00")}", line.FallsAs(expected));
    }

    private static string Heading(bool isThePapers, bool isTied) => (isThePapers, isTied) switch
    {
        (true, true) => "The",
        (true, false) => "Each block with weights of its own: the",
        (false, true) => "Ours: the",
        (false, false) => "Ours, each block with weights of its own: the",
    };
}
