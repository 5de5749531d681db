using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Trains a network.</summary>
[Verb("train", HelpText = "Train a network on images and watch its reconstruction.")]
[Page(
    "Training with the adjoint instead of stored states (arXiv 2205.14612, section 4).",
    "resnet-nodes train --depth 16 --epochs 3 --seed 1 --out runs/a        (2 minutes on 2 cores)",
    "resnet-nodes train --depth 8 --dataset synthetic --epochs 1 --json    (10 seconds)")]
[JsonRows(typeof(EpochMetrics))]
[Preset("smoke", "dataset=synthetic", "limit=200", "depth=4", "planes=4", "epochs=1")]
[Preset("small", "dataset=fashion-mnist", "limit=20000", "depth=16", "epochs=2")]
[Preset("paper", "dataset=cifar10", "depth=64", "batch=256", "epochs=90", "schedule=thirds", "reconstruction=inverse")]
internal sealed class Train : ModelOptions
{
    [Option('d', "depth", Default = "16", MetaValue = "N", HelpText = "Residual functions of TinyResNet.")]
    [Section("model")]
    public string Depth { get; set; } = "16";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stage.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('r', "reconstruction", Default = "adaptive", MetaValue = "METHOD", HelpText = "backprop, checkpoint[:k], inverse, corrected[:k], extrapolated[:m] or adaptive[:tol].")]
    [Section("method")]
    public string Method { get; set; } = "adaptive";

    [Option('e', "epochs", Default = "3", MetaValue = "N", HelpText = "Epochs in all.")]
    [Section("training")]
    [MayChange]
    public string Epochs { get; set; } = "3";

    [Option("schedule", Default = "cosine", MetaValue = "constant|cosine|thirds|steps:A+B", HelpText = "Learning rate over the epochs.")]
    [Section("training")]
    public string ScheduleName { get; set; } = "cosine";

    [Option("stage-rate-factor", Default = "1", MetaValue = "F", HelpText = "Multiplies the learning rate of the stages' parameters (the paper's 'adaptive' option: the depth).")]
    [Section("training")]
    public string StageRateFactor { get; set; } = "1";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        if (Network == "tiny")
        {
            Unused("size", Size, "--network tiny has a --depth");
            Unused("adjoint-from", AdjointFrom, "--network tiny has one stage");
        }
        else
        {
            Unused("depth", Depth, $"--network {Network} has a --size");
        }

        var options = Optimization() with
        {
            Epochs = Read.Whole("epochs", Epochs, 1),
            StageRateFactor = Read.Number("stage-rate-factor", StageRateFactor, 0, aboveLeast: true),
            Schedule = Read.Checked("schedule", ScheduleName, Schedule.Parse),
        };
        var stage = new StageOptions
        {
            Solver = Read.Choice<Solver>("solver", SolverName),
            Reconstruction = Read.One("reconstruction", Method),
            ReportReconstructionError = true,
            AccumulateGradientsInPlace = true,
        };
        var size = SizeOf(Size);
        var depth = Read.Whole("depth", Depth, 1);
        var (train, images) = Batches(true, terminal, cancellation);
        var (test, testImages) = Batches(false, terminal, cancellation, TestBatch);
        using var model = Build(Network, depth, size, stage, images.Classes);
        var folder = RunFolder.Open(this);
        terminal.Say($"{images.Name}: {images.Count} + {testImages.Count} images; {string.Join("; ", StagesOf(model).Select(s => s.ToString()))}; batch {Batch}; output in {folder.Path}");
        if (Is(Verbose))
        {
            terminal.Say(string.Join(Environment.NewLine, StagesOf(model).Select((s, i) => $"stage {i + 1}: execution {s.Execution}, {s.ExecutionReason}")));
        }

        var history = new TrainingRun(folder, terminal, "train").Go(model, options, train, test, terminal.Row, cancellation);
        terminal.Table(history);
        var epochs = history.Select(m => (double)m.Epoch).ToList();
        terminal.Say("figure: " + PaperFigure.Save(folder, "accuracy", $"{Network} on {images.Name}", "Epoch", "Accuracy",
        [
            new Series("train", epochs, [.. history.Select(m => m.TrainAccuracy)], PaperFigure.DarkBlue, Open: true),
            new Series("test", epochs, [.. history.Select(m => m.TestAccuracy)], PaperFigure.Red),
        ]));
        folder.Finish(terminal, $"Training of {Network} with {stage.Reconstruction} on {images.Name}", "section 4");
    }
}
