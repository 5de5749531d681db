using System.Globalization;
using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>The error of a method's whole gradient of the stage.</summary>
internal sealed record GradientRow(int Depth, Solver Solver, string Reconstruction, double RelativeError, double? Cosine, double? StateError, double EvaluationsPerLayer, int FailedSteps);

/// <summary>The error of one parameter's gradient; the squared one is the paper's figure.</summary>
internal sealed record ParameterRow(int Depth, Solver Solver, string Reconstruction, string Parameter, double RelativeError, double SquaredError, double? Cosine);

/// <summary>Adjoint against backprop at one set of weights.</summary>
[Verb("compare-gradients", HelpText = "Error of the adjoint's gradient against backprop, over depths.")]
[Page(
    "Figure 4 of arXiv 2205.14612. Weights: trained with backprop for --train-steps, or of --checkpoint; --stretch-from takes one network to all depths.",
    "resnet-nodes compare-gradients --depths 8,16,32 --solvers euler,heun --train-steps 330    (3 minutes on 2 cores)",
    "resnet-nodes compare-gradients --depths 4,8 --dataset synthetic --train-steps 20 --json   (10 seconds)")]
[JsonRows(typeof(GradientRow), typeof(ParameterRow))]
[Preset("smoke", "dataset=synthetic", "limit=200", "planes=4", "depths=4,8", "train-steps=5", "batch=50")]
[Preset("small", "depths=4,8,16,32", "train-steps=100")]
[Preset("paper", "dataset=cifar10", "depths=4,8,16,32,64", "batch=256", "reconstructions=inverse", "train-steps=17550")]
internal sealed class CompareGradients : ModelOptions
{
    [Option('d', "depths", Default = "8,16,32", MetaValue = "N,N,...", HelpText = "Residual functions.")]
    [Section("model")]
    public string Depths { get; set; } = "8,16,32";

    [Option("solvers", Default = "euler,heun", MetaValue = "euler,heun", HelpText = "Steps of the stage.")]
    [Section("method")]
    public string Solvers { get; set; } = "euler,heun";

    [Option('r', "reconstructions", Default = "inverse,corrected,corrected:2,adaptive", MetaValue = "METHOD,...", HelpText = "Compared with backprop.")]
    [Section("method")]
    public string Methods { get; set; } = "inverse,corrected,corrected:2,adaptive";

    [Option("train-steps", Default = "330", MetaValue = "N", HelpText = "Training steps with backprop before the comparison.")]
    [Section("training")]
    public string TrainSteps { get; set; } = "330";

    [Option("checkpoint", MetaValue = "FILE", HelpText = "Weights of a trained network (of the same depth, or of --stretch-from's), in place of training.")]
    [Section("training")]
    public string? CheckpointFile { get; set; }

    [Option("stretch-from", MetaValue = "N", HelpText = "Train at depth N alone; layer i of depth b takes layer ⌊i·N/b⌋ of it.")]
    [Section("training")]
    public string? StretchFrom { get; set; }

    private sealed record Point(List<GradientRow> Whole, List<ParameterRow> Parameters);

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        Read.OneOf("network", Network, "tiny");
        var depths = Read.Wholes("depths", Depths, 1);
        var solvers = Read.Choices<Solver>("solvers", Solvers);
        var methods = Read.Reconstructions("reconstructions", Methods);
        if (Is(CheckpointOnFailure))
        {
            throw new UsageException("--checkpoint-on-failure is for training; here every method is compared as it is");
        }

        var steps = Read.Whole("train-steps", TrainSteps, 0);
        var stretch = StretchFrom is null ? (int?)null : Read.Whole("stretch-from", StretchFrom, 1);
        var options = Optimization();
        var device = options.Device;
        var (images, augmentation) = Load(true, terminal, cancellation);
        var loader = new BatchLoader(images, augmentation, BatchNumber, SeedNumber, WorkersNumber);
        using var batch = new BatchLoader(images, augmentation, BatchNumber, SeedNumber + 1, WorkersNumber).Epoch(0).First();
        var folder = RunFolder.Open(this);
        var points = new List<Point>();
        foreach (var solver in solvers)
        {
            TinyResNet? source = null;
            foreach (var depth in depths)
            {
                points.Add(folder.Point($"{Rows.Spelled(solver)}-{depth}", () =>
                {
                    using var model = Make(solver, depth, images);
                    var what = $"{Rows.Spelled(solver)}, depth {depth}";
                    if (stretch is { } from)
                    {
                        source ??= Prepare(Make(solver, from, images), steps, loader, options, terminal, $"{Rows.Spelled(solver)}, depth {from}", cancellation);
                        DepthTransfer.Copy(source, model);
                        model.to(device);
                    }
                    else
                    {
                        Prepare(model, steps, loader, options, terminal, what, cancellation);
                    }

                    return Compare(model, solver, methods, batch, device);
                }));
                points[^1].Whole.ForEach(terminal.Row);
                points[^1].Parameters.ForEach(terminal.Row);
            }

            source?.Dispose();
        }

        List<GradientRow> rows = [.. points.SelectMany(p => p.Whole)];
        List<ParameterRow> parameters = [.. points.SelectMany(p => p.Parameters)];
        folder.WriteCsv("gradients.csv", rows);
        folder.WriteCsv("parameters.csv", parameters);
        terminal.Table(rows);
        terminal.Say("figure: " + Draw(folder, depths, solvers, methods, parameters));
        folder.Finish(terminal, $"Gradients of the adjoint against backprop on {images.Name}", "figure 4", Judge(rows, solvers, depths));
    }

    private TinyResNet Make(Solver solver, int depth, ImageDataset images) =>
        (TinyResNet)Build("tiny", depth, NetworkSize.Auto(1), new StageOptions { Solver = solver, Reconstruction = Reconstruction.Backprop }, images.Classes);

    private TinyResNet Prepare(TinyResNet model, int steps, BatchLoader loader, TrainingOptions options, Terminal terminal, string what, CancellationToken cancellation)
    {
        if (CheckpointFile is not null)
        {
            Checkpoint.Load(CheckpointFile, model, null);
            model.to(options.Device);
            return model;
        }

        using var trainer = new Trainer(model, options);
        for (var (done, epoch) = (0, 0); done < steps; epoch++)
        {
            foreach (var batch in loader.Epoch(epoch))
            {
                using var scope = NewDisposeScope();
                using (batch)
                {
                    cancellation.ThrowIfCancellationRequested();
                    var (images, labels) = batch.On(options.Device);
                    trainer.TrainStep(images, labels);
                }

                terminal.Progress((double)++done / steps, $"{what}: training step {done}/{steps}");
                if (done == steps)
                {
                    break;
                }
            }
        }

        return model;
    }

    private static Point Compare(TinyResNet model, Solver solver, IReadOnlyList<Reconstruction> methods, Batch batch, Device device)
    {
        using var scope = NewDisposeScope();
        var names = model.Stage.named_parameters().Select(p => p.name).ToList();
        var depth = model.Stage.Depth;
        var truth = Gradients(model, Reconstruction.Backprop, batch, device);
        var point = new Point([], []);
        foreach (var method in methods)
        {
            var found = Gradients(model, method, batch, device);
            var report = model.Stage.LastReport!;
            var (error, cosine) = Difference(cat([.. found.Select(g => g.flatten())]), cat([.. truth.Select(g => g.flatten())]));
            point.Whole.Add(new(depth, solver, method.ToString(), error, cosine, report.ReconstructionError, (double)report.Evaluations / depth, report.FailedSteps.Count));
            for (var i = 0; i < names.Count; i++)
            {
                var (one, oneCosine) = Difference(found[i].flatten(), truth[i].flatten());
                point.Parameters.Add(new(depth, solver, method.ToString(), names[i], one, one * one, oneCosine));
            }
        }

        return point;
    }

    private static List<Tensor> Gradients(TinyResNet model, Reconstruction method, Batch batch, Device device)
    {
        model.train();
        model.Stage.Options = model.Stage.Options with { Reconstruction = method, ReportReconstructionError = true };
        foreach (var parameter in model.parameters())
        {
            parameter.grad = null;
        }

        var (images, labels) = batch.On(device);
        using var loss = nn.functional.cross_entropy(model.call(images), labels);
        loss.BackwardThroughStages();
        return [.. model.Stage.parameters().Select(p => p.grad!.detach().to(ScalarType.Float64).cpu().clone())];
    }

    // In float64: the dot products of near-equal float32 vectors would round a cosine above 1.
    private static (double Error, double? Cosine) Difference(Tensor found, Tensor truth)
    {
        var size = truth.norm().item<double>();
        var norms = found.norm().item<double>() * size;
        var off = (found - truth).norm().item<double>();
        return (size > 0 ? off / size : off, norms > 0 ? found.dot(truth).item<double>() / norms : null);
    }

    private static List<Finding> Judge(List<GradientRow> rows, IReadOnlyList<Solver> solvers, IReadOnlyList<int> depths)
    {
        var findings = new List<Finding>();
        foreach (var solver in solvers)
        {
            var own = rows.Where(r => r.Solver == solver && r.Reconstruction == "inverse").ToList();
            if (Fit.Exponent(own.Select(r => (double)r.Depth), own.Select(r => r.RelativeError)) is { } exponent)
            {
                var order = solver == Solver.Euler ? 1 : 2;
                var enough = depths.Count >= 3;
                findings.Add(new(
                    solver == Solver.Euler ? "ResNet: the adjoint's gradient error falls at least as 1/N" : "HeunNet: it falls at least as 1/N²",
                    $"error of inverse {own[0].RelativeError:0.0e+0} at depth {own[0].Depth}, {own[^1].RelativeError:0.0e+0} at {own[^1].Depth}: N to the power {exponent:0.00}",
                    enough ? exponent < -order + 0.15 : null));
            }
        }

        foreach (var (solver, depth) in solvers.SelectMany(s => depths.TakeLast(1).Select(d => (s, d))))
        {
            double? Error(string method) => rows.FirstOrDefault(r => r.Solver == solver && r.Depth == depth && r.Reconstruction == method)?.RelativeError;
            if (Error("inverse") is { } inverse && Error("corrected:2") is { } corrected)
            {
                findings.Add(new($"Ours: corrected:2 is closer to backprop than the paper's inverse ({(solver == Solver.Euler ? "ResNet" : "HeunNet")})", $"at depth {depth}, {corrected:0.0e+0} against {inverse:0.0e+0}", corrected < inverse));
            }
        }

        return findings;
    }

    // One column a depth, jittered; parameters but biases, as the paper: a bias before batch normalization has no gradient.
    private static string Draw(RunFolder folder, IReadOnlyList<int> depths, IReadOnlyList<Solver> solvers, IReadOnlyList<Reconstruction> methods, List<ParameterRow> rows)
    {
        var jitter = new Random(0);
        var columns = depths.Index().ToDictionary(pair => pair.Item, pair => pair.Index);
        var series = new List<Series>();
        foreach (var (m, method) in methods.Index())
        {
            foreach (var solver in solvers)
            {
                var points = rows.Where(r => r.Reconstruction == method.ToString() && r.Solver == solver && !r.Parameter.EndsWith("bias", StringComparison.Ordinal)).ToList();
                double Column(ParameterRow r) => columns[r.Depth] + ((m + 0.5) / methods.Count * 0.8) - 0.4 + ((jitter.NextDouble() - 0.5) * 0.12);
                series.Add(new Series($"{(solver == Solver.Heun ? "HeunNet" : "ResNet")}, {method}", [.. points.Select(Column)], [.. points.Select(r => r.SquaredError)], Shade(solver, m, methods.Count), Points: true));
            }
        }

        return PaperFigure.Save(folder, "gradients", "Adjoint against backprop, per parameter", new Panel("Depth N", "Relative squared error of the gradient", series)
        {
            LogY = true,
            TicksX = [.. depths.Select((d, i) => ((double)i, d.ToString(CultureInfo.InvariantCulture)))],
        });
    }

    // The solver's colour, the lighter the further down the list of methods.
    private static string Shade(Solver solver, int method, int methods)
    {
        var hex = PaperFigure.ColourOf(solver);
        var share = 0.65 * method / Math.Max(methods, 1);
        var parts = Enumerable.Range(0, 3).Select(i => Convert.ToInt32(hex.Substring(1 + (2 * i), 2), 16)).Select(v => (int)(v + ((255 - v) * share)));
        return "#" + string.Concat(parts.Select(v => v.ToString("x2", CultureInfo.InvariantCulture)));
    }
}
