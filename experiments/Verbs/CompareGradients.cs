using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Adjoint against backprop at one set of weights.</summary>
[Verb("compare-gradients", HelpText = "Error of the adjoint's gradient against backprop, over depths.")]
[Page(
    "Figure 4 of arXiv 2205.14612. Weights: trained with backprop for --train-steps, or of --checkpoint.",
    "resnet-nodes compare-gradients --depths 8,16,32 --solvers euler,heun --train-steps 330    (4 minutes on 2 cores)",
    "resnet-nodes compare-gradients --depths 4,8 --dataset synthetic --train-steps 20 --json   (10 seconds)")]
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

    [Option("checkpoint", MetaValue = "FILE", HelpText = "Weights of a trained network of the same depth, in place of training.")]
    [Section("training")]
    public string? CheckpointFile { get; set; }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var depths = Read.Wholes("depths", Depths, 1);
        var solvers = Solvers.Split(',').Select(s => Read.Choice<Solver>("solvers", s)).Distinct().ToList();
        var methods = Read.Reconstructions("reconstructions", Methods);
        var steps = Read.Whole("train-steps", TrainSteps, 0);
        var (images, augmentation) = Load(train: true);
        var device = FindDevice();
        if (Is(Resume))
        {
            throw new UsageException("compare-gradients has nothing to resume; take --overwrite");
        }

        var folder = RunFolder.Open(this);
        var rows = new List<Dictionary<string, object?>>();
        var perParameter = new List<Dictionary<string, object?>>();
        foreach (var solver in solvers)
        {
            foreach (var depth in depths)
            {
                using var model = Build(depth, new StageOptions { Solver = solver, Reconstruction = Reconstruction.Backprop });
                Prepare(model, steps, images, augmentation, device, terminal, $"{solver.ToString().ToLowerInvariant()}, depth {depth}", cancellation);
                Compare(model, solver, methods, images, augmentation, device, rows, perParameter, terminal);
            }
        }

        folder.WriteCsv("gradients.csv", rows);
        folder.WriteCsv("parameters.csv", perParameter);
        terminal.Table(rows);
        terminal.Say("figure: " + Draw(folder, depths, solvers, methods, perParameter));
    }

    private void Prepare(TinyResNet model, int steps, ImageDataset images, Augmentation augmentation, Device device, Terminal terminal, string what, CancellationToken cancellation)
    {
        if (CheckpointFile is not null)
        {
            Checkpoint.Load(CheckpointFile, model, null);
            model.to(device);
            return;
        }

        using var trainer = new Trainer(model, new TrainingOptions { LearningRate = RateNumber, BatchSize = BatchNumber, Device = device });
        var loader = new BatchLoader(images, augmentation, BatchNumber, SeedNumber);
        for (var (done, epoch) = (0, 0); done < steps; epoch++)
        {
            foreach (var batch in loader.Epoch(epoch))
            {
                using var scope = NewDisposeScope();
                using (batch)
                {
                    cancellation.ThrowIfCancellationRequested();
                    trainer.TrainStep(batch.Images.to(device), batch.Labels.to(device));
                }

                terminal.Progress((double)++done / steps, $"{what}: training step {done}/{steps}");
                if (done == steps)
                {
                    break;
                }
            }
        }
    }

    private void Compare(
        TinyResNet model,
        Solver solver,
        IReadOnlyList<Reconstruction> methods,
        ImageDataset images,
        Augmentation augmentation,
        Device device,
        List<Dictionary<string, object?>> rows,
        List<Dictionary<string, object?>> perParameter,
        Terminal terminal)
    {
        using var scope = NewDisposeScope();
        using var batch = new BatchLoader(images, augmentation, BatchNumber, SeedNumber + 1).Epoch(0).First();
        var names = model.Stage.named_parameters().Select(p => p.name).ToList();
        var depth = model.Stage.Depth;
        var truth = Gradients(model, Reconstruction.Backprop, batch, device);
        foreach (var method in methods)
        {
            var found = Gradients(model, method, batch, device);
            var report = model.Stage.LastReport!;
            var (error, cosine) = Difference(cat([.. found.Select(g => g.flatten())]), cat([.. truth.Select(g => g.flatten())]));
            rows.Add(new()
            {
                ["depth"] = depth,
                ["solver"] = solver.ToString().ToLowerInvariant(),
                ["reconstruction"] = method.ToString(),
                ["relative_error"] = error,
                ["cosine"] = cosine,
                ["state_error"] = report.ReconstructionError,
                ["evaluations_per_layer"] = (double)report.Evaluations / depth,
                ["failed_steps"] = report.FailedSteps.Count,
            });
            terminal.Row(rows[^1]);
            for (var i = 0; i < names.Count; i++)
            {
                var (parameterError, parameterCosine) = Difference(found[i].flatten(), truth[i].flatten());
                perParameter.Add(new()
                {
                    ["depth"] = depth,
                    ["solver"] = solver.ToString().ToLowerInvariant(),
                    ["reconstruction"] = method.ToString(),
                    ["parameter"] = names[i],
                    ["relative_error"] = parameterError,
                    ["cosine"] = parameterCosine,
                });
                terminal.Row(perParameter[^1]);
            }
        }
    }

    private static List<Tensor> Gradients(TinyResNet model, Reconstruction method, Batch batch, Device device)
    {
        model.train();
        model.Stage.Options = model.Stage.Options with { Reconstruction = method, ReportReconstructionError = true };
        foreach (var parameter in model.parameters())
        {
            parameter.grad = null;
        }

        using var loss = nn.functional.cross_entropy(model.call(batch.Images.to(device)), batch.Labels.to(device));
        loss.BackwardThroughStages();
        return [.. model.Stage.parameters().Select(p => p.grad!.detach().to(ScalarType.Float64).cpu().clone())];
    }

    // In float64: the dot products of near-equal float32 vectors would round a cosine above 1.
    private static (double Error, double? Cosine) Difference(Tensor found, Tensor truth)
    {
        var norms = found.norm().item<double>() * truth.norm().item<double>();
        var size = truth.norm().item<double>();
        var off = (found - truth).norm().item<double>();
        return (size > 0 ? off / size : off, norms > 0 ? found.dot(truth).item<double>() / norms : null);
    }

    // One column a depth, jittered; parameters but biases, as the paper: a bias before batch normalization has no gradient.
    private static string Draw(RunFolder folder, IReadOnlyList<int> depths, List<Solver> solvers, IReadOnlyList<Reconstruction> methods, List<Dictionary<string, object?>> rows)
    {
        var jitter = new Random(0);
        var series = new List<Series>();
        foreach (var (method, m) in methods.Select((method, m) => (method, m)))
        {
            foreach (var solver in solvers)
            {
                var points = rows.Where(r => (string)r["reconstruction"]! == method.ToString() && (string)r["solver"]! == solver.ToString().ToLowerInvariant()
                    && !((string)r["parameter"]!).EndsWith("bias", StringComparison.Ordinal)).ToList();
                double Column(Dictionary<string, object?> r) => depths.ToList().IndexOf((int)r["depth"]!) + ((m + 0.5) / methods.Count * 0.8) - 0.4 + ((jitter.NextDouble() - 0.5) * 0.12);
                var colour = Color(solver, m, methods.Count);
                series.Add(new Series($"{(solver == Solver.Heun ? "HeunNet" : "ResNet")}, {method}", [.. points.Select(Column)], [.. points.Select(r => (double)r["relative_error"]!)], colour, Points: true));
            }
        }

        return PaperFigure.Save(folder, "gradients", "Adjoint against backprop, per parameter", "Depth N", "Relative error of the gradient", series, logY: true, ticksX: [.. depths.Select((d, i) => ((double)i, d.ToString(System.Globalization.CultureInfo.InvariantCulture)))]);
    }

    // The solver's colour, the lighter the further down the list of methods.
    private static string Color(Solver solver, int method, int methods)
    {
        var hex = PaperFigure.ColourOf(solver);
        var share = 0.65 * method / Math.Max(methods, 1);
        var parts = Enumerable.Range(0, 3).Select(i => Convert.ToInt32(hex.Substring(1 + (2 * i), 2), 16)).Select(v => (int)(v + ((255 - v) * share)));
        return "#" + string.Concat(parts.Select(v => v.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)));
    }
}
