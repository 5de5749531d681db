using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>Error of the input that comes back, ‖x̃_0 − x_0‖/‖x_0‖; with no depth, its exponent in N.</summary>
internal sealed record DiscretizationRow(
    string Solver,
    string Reconstruction,
    int? Depth,
    double? RelativeError,
    double? Exponent);

/// <summary>A round trip through one stage.</summary>
[Verb("discretization", HelpText = "Error of a round trip through stage 1 of a ResNet, against its number of blocks.")]
[Page(
    "The discretization experiment of arXiv 2205.14612: stem and first residual stage with random weights, all blocks "
    + "with the same weights.",
    "resnet-nodes discretization --max-depth 1024 --planes 8 --batch 8                (1 minute on 2 cores)",
    "resnet-nodes discretization --npy images.npy --max-depth 32768 --planes 64 --batch 128")]
[PaperRow("discretization experiment", order: 3)]
[JsonRows(typeof(DiscretizationRow))]
[Defaults("reconstructions=inverse,corrected", "planes=64", "precision=float64")]
[Meaning("planes", "Channels of the stage.")]
[Meaning("reconstructions", "Ways back to compare: {methods}.")]
[Meaning("precision", "State and weights; bfloat16: functions in it, the state in float32; bfloat16-state: the state too.")]
[Meaning("batch", "Images that make the round trip.")]
[Preset("smoke", "dataset=synthetic", "limit=64", "planes=4", "batch=4", "max-depth=64")]
[Preset("small", "planes=8", "batch=8", "max-depth=1024")]
[Preset("paper", "dataset=cifar10", "planes=64", "batch=128", "max-depth=32768")]
internal sealed class Discretization : Experiment
{
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

    /// <summary>What is the same for every method and depth.</summary>
    private sealed record Setting(
        Tensor Images,
        int Planes,
        StageOptions Stage,
        string Precision,
        Device Device,
        long Seed);

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var planes = Planes.Or(64);
        var most = Read.Whole("max-depth", MaxDepth);
        var depths = Enumerable.Range(1, 30).Select(i => 1 << i).TakeWhile(n => n <= most).ToList();
        var (solver, methods) = (Solver.Value, Methods.Values);
        if (methods.FirstOrDefault(m => !m.IsMemoryFree) is { } stored)
        {
            throw new UsageException($"--reconstructions: {stored} stores the states: there is nothing to reconstruct");
        }

        var precision = Precision.Name;
        var device = Device.Value;
        var (images, name) = Batches(terminal, cancellation);
        using var disposed = images;
        if (device.type == DeviceType.CPU)
        {
            var bytes = precision switch { "float64" => 8.0, "bfloat16-state" => 2, _ => 4 };
            MemoryNeed.Require(
                $"--planes is {planes} and --batch {images.shape[0]}", "one state and the weights of a function need",
                bytes * planes * ((images.shape[0] * images.shape[2] * images.shape[3]) + (18.0 * planes)),
                "a smaller --planes or --batch");
        }

        var stage = new StageOptions
        {
            Solver = solver,
            ReportReconstructionError = true,
            AccumulateGradientsInPlace = true,
            ComputeType = Precision.ComputeType,
        };
        var setting = new Setting(images, planes, stage, precision, device, Seed.Number);
        var folder = RunFolder.Open(this);
        var rows = new List<DiscretizationRow>();
        var (done, total) = (0, methods.Count * depths.Sum());
        foreach (var method in methods)
        {
            var points = new List<DiscretizationRow>();
            foreach (var depth in depths)
            {
                cancellation.ThrowIfCancellationRequested();
                terminal.Progress((double)done / total, $"{method}, {depth} blocks");
                points.Add(folder.Point($"{method}-{depth}", () =>
                    new DiscretizationRow(solver.Name, method.ToString(), depth, ForthAndBack(setting, depth, method), null)));
                terminal.Row(points[^1]);
                done += depth;
            }

            // The first depths are not yet in the regime of small steps.
            var fitted = points.Where(p => p.Depth >= Math.Min(16, depths[^1] / 2)).ToList();
            rows.AddRange(points);
            var exponent = Fit.Exponent(fitted.Select(p => (double)p.Depth!), fitted.Select(p => p.RelativeError!.Value));
            rows.Add(new(solver.Name, method.ToString(), null, null, exponent));
            terminal.Row(rows[^1]);
        }

        folder.WriteCsv("discretization.csv", rows);
        terminal.Table(rows);
        terminal.Say("figure: " + Draw(folder, methods, depths, rows, $"Round trip through stage 1, {name}, {precision}"));
        folder.Finish(
            terminal, $"Discretization error of stage 1 on {name}",
            [.. methods.Select(m => Judge(m, solver, rows)).Where(_ => precision == "float64").OfType<Finding>()]);
    }

    private static string Draw(
        RunFolder folder, IReadOnlyList<Reconstruction> methods, List<int> depths, List<DiscretizationRow> rows, string title)
    {
        var series = methods.Select((method, i) =>
        {
            var own = rows.Where(r => r.Reconstruction == method.ToString() && r.Depth is not null).ToList();
            var exponent = rows.First(r => r.Reconstruction == method.ToString() && r.Depth is null).Exponent;
            return new Series(
                $"{method}: N^{exponent:0.00}", [.. own.Select(r => (double)r.Depth!)], [.. own.Select(r => r.RelativeError!.Value)],
                i == 0 ? PaperFigure.DarkBlue : PaperFigure.ColourAt(i));
        }).ToList();
        return PaperFigure.Save(folder, "discretization", title, new Panel("Blocks N", "Relative error of the input", series)
        {
            LogX = true,
            LogY = true,
            TicksX = [.. depths.Where((_, i) => i % Math.Max(1, depths.Count / 8) == 0).Select(n => ((double)n, $"{n}"))],
        });
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
    private static double ForthAndBack(Setting setting, int depth, Reconstruction method)
    {
        using var scope = NewDisposeScope();
        new RandomNumbers(setting.Seed).SeedTorch();
        var planes = setting.Planes;
        using var stem = nn.Sequential(nn.Conv2d(3, planes, 3, padding: 1, bias: false), nn.BatchNorm2d(planes), nn.ReLU());
        using var function = nn.Sequential(
            nn.ReLU(), nn.Conv2d(planes, planes, 3, padding: 1, bias: false), nn.BatchNorm2d(planes),
            nn.ReLU(), nn.Conv2d(planes, planes, 3, padding: 1, bias: false), nn.BatchNorm2d(planes));
        using var stage = ResidualStage.Shared(function, depth, setting.Stage with { Reconstruction = method });
        var type = setting.Precision switch
        {
            "float64" => ScalarType.Float64,
            "bfloat16-state" => ScalarType.BFloat16,
            _ => ScalarType.Float32,
        };
        stem.to(ScalarType.Float64).to(setting.Device);
        stage.to(type).to(setting.Device);
        var state = stem.call(setting.Images.to(ScalarType.Float64).to(setting.Device)).to(type).detach().requires_grad_();
        stage.call(state).pow(2).mean().BackwardThroughStages();
        return stage.LastReport!.ReconstructionError!.Value;
    }

    private static Finding? Judge(Reconstruction method, Solver solver, List<DiscretizationRow> rows)
    {
        var exponent = rows.First(r => r.Reconstruction == method.ToString() && r.Depth is null).Exponent;
        // The reverse step's error is of the order of `inverse`; each fixed point on the way gains a power of h.
        int? order = method.ToString() switch
        {
            "inverse" => solver.Order,
            "corrected" when solver.Order == 1 => 2,
            _ => null,
        };
        var whose = method.ToString() == "inverse" ? "The" : "Ours: the";
        return order is null || exponent is null
            ? null
            : new(
                $"{whose} error of {method} falls as 1/N{(order == 2 ? "²" : string.Empty)} ({solver.Name})",
                $"as N to the power {exponent:0.00}",
                exponent < -order + 0.15);
    }
}
