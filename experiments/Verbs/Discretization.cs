using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Error of the input that comes back, ‖x̃_0 − x_0‖/‖x_0‖; with no depth, its exponent in N.</summary>
internal sealed record DiscretizationRow(Solver Solver, string Reconstruction, int? Depth, double? RelativeError, double? Exponent);

/// <summary>Forth and back through one stage.</summary>
[Verb("discretization", HelpText = "Error of going forth and back through stage 1 of a ResNet, over its number of blocks.")]
[Page(
    "The discretization experiment of arXiv 2205.14612: stem and first residual stage with random weights, all blocks with the same weights.",
    "resnet-nodes discretization --max-depth 1024 --planes 8 --batch 8                (1 minute on 2 cores)",
    "resnet-nodes discretization --npy images.npy --max-depth 32768 --planes 64 --batch 128")]
[JsonRows(typeof(DiscretizationRow))]
[Preset("smoke", "dataset=synthetic", "limit=64", "planes=4", "batch=4", "max-depth=64")]
[Preset("small", "planes=8", "batch=8", "max-depth=1024")]
[Preset("paper", "dataset=cifar10", "planes=64", "batch=128", "max-depth=32768")]
internal sealed class Discretization : ImageOptions
{
    [Option('p', "planes", Default = "64", MetaValue = "C", HelpText = "Channels of the stage.")]
    [Section("model")]
    public string Planes { get; set; } = "64";

    [Option("max-depth", Default = "32768", MetaValue = "N", HelpText = "The largest number of blocks; from 2 on, doubled.")]
    [Section("model")]
    public string MaxDepth { get; set; } = "32768";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stage.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('r', "reconstructions", Default = "inverse,corrected", MetaValue = "METHOD,...", HelpText = "Ways back.")]
    [Section("method")]
    public string Methods { get; set; } = "inverse,corrected";

    [Option("precision", Default = "float64", MetaValue = "float64|float32|bfloat16|bfloat16-state", HelpText = "State and weights; bfloat16: functions in it, the state in float32; bfloat16-state: the state too.")]
    [Section("method")]
    public string Precision { get; set; } = "float64";

    [Option("npy", MetaValue = "FILE", HelpText = "Normalized images [B, 3, H, W], float32, in place of --dataset.")]
    [Section("data")]
    public string? Npy { get; set; }

    protected override string Chosen => $", precision {Precision}";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var planes = Read.Whole("planes", Planes, 1);
        var depths = Enumerable.Range(1, 30).Select(i => 1 << i).TakeWhile(n => n <= Read.Whole("max-depth", MaxDepth, 2)).ToList();
        var solver = Read.Choice<Solver>("solver", SolverName);
        var methods = Read.Reconstructions("reconstructions", Methods);
        if (methods.FirstOrDefault(m => !m.IsMemoryFree) is { } stored)
        {
            throw new UsageException($"--reconstructions: {stored} stores the states: nothing comes back");
        }

        Read.OneOf("precision", Precision, "float64", "float32", "bfloat16", "bfloat16-state");
        var device = FindDevice();
        var (images, name) = Images(terminal, cancellation);
        using var _ = images;
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
                points.Add(folder.Point($"{method}-{depth}", () => new DiscretizationRow(solver, method.ToString(), depth, ForthAndBack(images, planes, depth, solver, method, device), null)));
                terminal.Row(points[^1]);
                done += depth;
            }

            // The first depths are not yet in the regime of small steps.
            var fitted = points.Where(p => p.Depth >= Math.Min(16, depths[^1] / 2)).ToList();
            rows.AddRange(points);
            rows.Add(new(solver, method.ToString(), null, null, Fit.Exponent(fitted.Select(p => (double)p.Depth!), fitted.Select(p => p.RelativeError!.Value))));
            terminal.Row(rows[^1]);
        }

        folder.WriteCsv("discretization.csv", rows);
        terminal.Table(rows);
        var series = methods.Select((method, i) =>
        {
            var own = rows.Where(r => r.Reconstruction == method.ToString() && r.Depth is not null).ToList();
            var exponent = rows.First(r => r.Reconstruction == method.ToString() && r.Depth is null).Exponent;
            return new Series($"{method}: N^{exponent:0.00}", [.. own.Select(r => (double)r.Depth!)], [.. own.Select(r => r.RelativeError!.Value)], i == 0 ? PaperFigure.DarkBlue : PaperFigure.ColourAt(i));
        }).ToList();
        terminal.Say("figure: " + PaperFigure.Save(folder, "discretization", $"Forth and back through stage 1, {name}, {Precision}", new Panel("Blocks N", "Relative error of the input", series)
        {
            LogX = true,
            LogY = true,
            TicksX = [.. depths.Where((_, i) => i % Math.Max(1, depths.Count / 8) == 0).Select(n => ((double)n, $"{n}"))],
        }));
        folder.Finish(terminal, $"Discretization error of stage 1 on {name}", "discretization experiment", [.. methods.Select(m => Judge(m, solver, rows)).Where(_ => Precision == "float64").OfType<Finding>()]);
    }

    private (Tensor Images, string Name) Images(Terminal terminal, CancellationToken cancellation)
    {
        if (Npy is not null)
        {
            using var all = NpyFile.Read(Npy);
            return (all.shape is [_, 3, _, _] ? all.narrow(0, 0, Math.Min(BatchNumber, all.shape[0])).clone() : throw new ResNetNodesException($"{Npy}: holds [{string.Join(", ", all.shape)}], expected images [B, 3, H, W]"), Path.GetFileName(Npy));
        }

        var (loader, images) = Batches(false, terminal, cancellation);
        using var batch = loader.Epoch(0).First();
        return (batch.Images.clone(), images.Name);
    }

    // By default in float64: at 32,768 blocks rounding in float32 would hide what the method leaves.
    private double ForthAndBack(Tensor images, int planes, int depth, Solver solver, Reconstruction method, Device device)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(SeedNumber);
        using var stem = nn.Sequential(nn.Conv2d(3, planes, 3, padding: 1, bias: false), nn.BatchNorm2d(planes), nn.ReLU());
        using var function = nn.Sequential(
            nn.ReLU(), nn.Conv2d(planes, planes, 3, padding: 1, bias: false), nn.BatchNorm2d(planes),
            nn.ReLU(), nn.Conv2d(planes, planes, 3, padding: 1, bias: false), nn.BatchNorm2d(planes));
        using var stage = ResidualStage.Shared(function, depth, new StageOptions
        {
            Solver = solver,
            Reconstruction = method,
            ReportReconstructionError = true,
            AccumulateGradientsInPlace = true,
            ComputeType = Precision == "bfloat16" ? ComputeType.BFloat16 : ComputeType.SameAsState,
        });
        var type = Precision switch { "float64" => ScalarType.Float64, "bfloat16-state" => ScalarType.BFloat16, _ => ScalarType.Float32 };
        stem.to(ScalarType.Float64).to(device);
        stage.to(type).to(device);
        stage.call(stem.call(images.to(ScalarType.Float64).to(device)).to(type).detach().requires_grad_()).pow(2).mean().BackwardThroughStages();
        return stage.LastReport!.ReconstructionError!.Value;
    }

    private static Finding? Judge(Reconstruction method, Solver solver, List<DiscretizationRow> rows)
    {
        var exponent = rows.First(r => r.Reconstruction == method.ToString() && r.Depth is null).Exponent;
        // Φ is of size h, so that Heun's reverse step and each fixed point on the way gain a power of h.
        int? order = (method.ToString(), solver) switch
        {
            ("inverse", Solver.Euler) => 1,
            ("inverse", Solver.Heun) => 2,
            ("corrected", Solver.Euler) => 2,
            _ => null,
        };
        return order is null || exponent is null
            ? null
            : new($"{(method.ToString() == "inverse" ? "The" : "Ours: the")} error of {method} falls as 1/N{(order == 2 ? "²" : string.Empty)} ({Rows.Spelled(solver)})", $"as N to the power {exponent:0.00}", exponent < -order + 0.15);
    }
}
