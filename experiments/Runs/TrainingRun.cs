using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Measuring;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// Trains a network into a folder: checkpoint.bin, metrics.csv, TensorBoard. Continues where it stopped, in the middle of an epoch too.
/// </summary>
internal sealed class TrainingRun(RunFolder folder, Terminal terminal, string name)
{
    public const string CheckpointName = TrainingFiles.CheckpointName;

    /// <summary>Trains to the options' last epoch.</summary>
    /// <param name="model">The network; its weights are those of the checkpoint, where there is one.</param>
    /// <param name="options">How it is trained.</param>
    /// <param name="train">Training images.</param>
    /// <param name="test">Test images.</param>
    /// <param name="validation">Images that say which epoch is the best; null: none does.</param>
    /// <param name="finished">Called with each epoch's metrics.</param>
    /// <param name="cancellation">Ends the run after the current step.</param>
    /// <returns>All epochs, those of earlier starts included.</returns>
    public IReadOnlyList<EpochMetrics> Go(
        nn.Module<Tensor, Tensor> model,
        TrainingOptions options,
        BatchLoader train,
        BatchLoader test,
        BatchLoader? validation,
        Action<EpochMetrics>? finished,
        CancellationToken cancellation)
    {
        Allocator.KeepFreedMemory();
        using var trainer = new Trainer(model, options);
        if (Path.Exists(folder.File(CheckpointName)))
        {
            trainer.Resume(folder.File(CheckpointName));
            terminal.Say($"{name}: resumed {(trainer.StepsOfEpoch > 0 ? Place(trainer) : $"after epoch {trainer.History.Count}")}");
        }

        var files = new TrainingFiles(folder, trainer);
        trainer.Observers.Add(files);
        trainer.Observers.Add(new TensorBoardLog(folder));
        trainer.Observers.Add(new TrainingNews(terminal, name, options.Epochs, NetworkGroup.PlannerOf(model)));
        try
        {
            trainer.Run(train, test, finished ?? (_ => { }), cancellation, validation);
        }
        catch (OperationCanceledException)
        {
            throw new InterruptedException(Place(trainer));
        }

        if (trainer.BestEpoch is { } best)
        {
            terminal.Say(
                $"{name}: {(trainer.History.Count < options.Epochs ? "patience is over; " : string.Empty)}the best of "
                + $"{trainer.History.Count} epochs is {best}, with validation accuracy "
                + $"{trainer.History[best - 1].ValidationAccuracy:0.0000} and test accuracy {trainer.History[best - 1].TestAccuracy:0.0000}");
        }

        var skipped = train.Skipped + (validation?.Skipped ?? 0);
        if (skipped + test.Skipped > 0)
        {
            terminal.Warn(
                $"{name}: {skipped} training and {test.Skipped} test images could not be decoded and were left out, "
                + "counted once an epoch");
        }

        files.WriteMetrics();
        return [.. trainer.History];
    }

    private static string Place(Trainer trainer) =>
        $"in epoch {trainer.History.Count + 1}" + (trainer.StepsOfEpoch > 0 ? $", after step {trainer.StepsOfEpoch}" : string.Empty);
}
