using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Trains a network.</summary>
[Verb("train", HelpText = "Train a network on images and watch its reconstruction.")]
[Page(
    "Training with the adjoint instead of stored states (arXiv 2205.14612, section 4).",
    "resnet-nodes train --depth 16 --epochs 3 --seed 1 --out runs/a        (3 minutes on 2 cores)",
    "resnet-nodes train --depth 8 --dataset synthetic --epochs 1 --json    (10 seconds)")]
internal sealed class Train : ModelOptions
{
    private const double WarnAbove = 1e-2;

    [Option('d', "depth", Default = "16", MetaValue = "N", HelpText = "Residual functions.")]
    [Section("model")]
    public string Depth { get; set; } = "16";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stage.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('r', "reconstruction", Default = "adaptive", MetaValue = "METHOD", HelpText = "backprop, checkpoint[:k], inverse, corrected[:k], extrapolated[:m] or adaptive[:tol].")]
    [Section("method")]
    public string Method { get; set; } = "adaptive";

    [Option("checkpoint-on-failure", HelpText = "Go on with stored states once a step could not be reconstructed.")]
    [Section("method")]
    public bool? CheckpointOnFailure { get; set; }

    [Option('e', "epochs", Default = "3", MetaValue = "N", HelpText = "Epochs in all.")]
    [Section("training")]
    public string Epochs { get; set; } = "3";

    [Option("schedule", Default = "cosine", MetaValue = "constant|cosine|thirds|steps:A+B", HelpText = "Learning rate over the epochs.")]
    [Section("training")]
    public string ScheduleName { get; set; } = "cosine";

    [Option("workers", Default = "1", MetaValue = "N", HelpText = "Threads that prepare batches.")]
    [Section("data")]
    public string Workers { get; set; } = "1";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var options = new TrainingOptions
        {
            Epochs = Read.Whole("epochs", Epochs, 1),
            BatchSize = BatchNumber,
            LearningRate = RateNumber,
            Schedule = Read.Checked("schedule", ScheduleName, Schedule.Parse),
            Seed = SeedNumber,
            Workers = Read.Whole("workers", Workers, 1),
            Device = FindDevice(),
        };
        var stage = new StageOptions
        {
            Solver = Read.Choice<Solver>("solver", SolverName),
            Reconstruction = Read.One("reconstruction", Method),
            ReportReconstructionError = true,
            CheckpointOnFailure = Is(CheckpointOnFailure),
        };
        var (trainImages, augmentation) = Load(train: true);
        var (testImages, _) = Load(train: false);
        using var model = Build(Read.Whole("depth", Depth, 1), stage);
        var folder = RunFolder.Open(this);
        using var trainer = new Trainer(model, options);
        var checkpoint = folder.File("checkpoint.bin");
        if (Is(Resume) && File.Exists(checkpoint))
        {
            trainer.Resume(checkpoint);
            terminal.Say($"resumed after epoch {trainer.History.Count}");
        }

        terminal.Say($"{trainImages.Name}: {trainImages.Count} + {testImages.Count} images; {model.Stage}; batch {options.BatchSize}; output in {folder.Path}");
        if (Is(Verbose))
        {
            terminal.Say($"execution: {model.Stage.Execution}, {model.Stage.ExecutionReason}");
        }

        trainer.Progress = p => terminal.Progress((double)p.Step / p.Steps, $"epoch {p.Epoch}/{options.Epochs}, step {p.Step}/{p.Steps}, loss {p.Loss:0.000}");
        var writer = TorchSharp.torch.utils.tensorboard.SummaryWriter(folder.File("tensorboard"), createRunName: false);
        var rows = trainer.History.Select(Row).ToList();
        try
        {
            trainer.Run(
                new BatchLoader(trainImages, augmentation, options.BatchSize, options.Seed, options.Workers),
                new BatchLoader(testImages, augmentation.WithoutRandomness(), options.TestBatchSize, null, options.Workers),
                metrics =>
                {
                    trainer.Save(checkpoint);
                    rows.Add(Row(metrics));
                    folder.WriteCsv("metrics.csv", rows);
                    Log(writer, metrics);
                    terminal.Row(rows[^1]);
                    terminal.Say($"epoch {metrics.Epoch}: train loss {metrics.TrainLoss:0.0000}, test accuracy {metrics.TestAccuracy:0.0000}, residual {Terminal.Text(metrics.Residual)}, {metrics.Seconds:0.0} s, waited {metrics.WaitedShare:0.0 %}, peak {metrics.PeakBytes >> 20} MiB");
                    Judge(terminal, metrics);
                },
                cancellation);
        }
        catch (OperationCanceledException)
        {
            throw new OperationCanceledException(trainer.History.Count > 0
                ? $"interrupted in epoch {trainer.History.Count + 1}; go on with the same command and --resume --out {folder.Path}"
                : $"interrupted in epoch 1, before the first checkpoint; start again with --overwrite --out {folder.Path}");
        }

        terminal.Table(rows);
        var epochs = trainer.History.Select(m => (double)m.Epoch).ToList();
        terminal.Say("figure: " + PaperFigure.Save(folder, "accuracy", $"TinyResNet on {trainImages.Name}", "Epoch", "Accuracy",
        [
            new Series("train", epochs, [.. trainer.History.Select(m => m.TrainAccuracy)], "#14306e", Open: true),
            new Series("test", epochs, [.. trainer.History.Select(m => m.TestAccuracy)], "#c82423"),
        ]));
    }

    private static void Judge(Terminal terminal, EpochMetrics metrics)
    {
        if (metrics.FailedSteps > 0)
        {
            terminal.Warn($"{metrics.FailedSteps} steps could not be reconstructed to the tolerance (h Lip(f) is not small there): take --checkpoint-on-failure, corrected:k or checkpoint");
        }
        else if (metrics.ReconstructionError > WarnAbove)
        {
            terminal.Warn($"the reconstructed input is off by {metrics.ReconstructionError:0.0e+0}: take adaptive, corrected:k or checkpoint");
        }
    }

    private static void Log(TorchSharp.Modules.SummaryWriter writer, EpochMetrics metrics)
    {
        writer.add_scalar("loss/train", (float)metrics.TrainLoss, metrics.Epoch);
        writer.add_scalar("loss/test", (float)metrics.TestLoss, metrics.Epoch);
        writer.add_scalar("accuracy/train", (float)metrics.TrainAccuracy, metrics.Epoch);
        writer.add_scalar("accuracy/test", (float)metrics.TestAccuracy, metrics.Epoch);
        writer.add_scalar("reconstruction/residual", (float)(metrics.Residual ?? 0), metrics.Epoch);
    }

    private static Dictionary<string, object?> Row(EpochMetrics m) => new()
    {
        ["epoch"] = m.Epoch,
        ["train_loss"] = m.TrainLoss,
        ["train_accuracy"] = m.TrainAccuracy,
        ["test_loss"] = m.TestLoss,
        ["test_accuracy"] = m.TestAccuracy,
        ["learning_rate"] = m.LearningRate,
        ["residual"] = m.Residual,
        ["failed_steps"] = m.FailedSteps,
        ["reconstruction_error"] = m.ReconstructionError,
        ["waited_share"] = m.WaitedShare,
        ["seconds"] = m.Seconds,
        ["peak_bytes"] = m.PeakBytes,
    };
}
