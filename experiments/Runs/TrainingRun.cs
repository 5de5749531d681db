using ResNetNodes.Data;
using ResNetNodes.Distributed;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Measuring;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// Trains a network into a folder: checkpoint.bin, metrics.csv, TensorBoard. Continues where it stopped, in the middle of an epoch too.
/// Ranks other than the first have no folder: what rank 0 reads and writes is all that there is.
/// </summary>
internal sealed class TrainingRun(RunFolder? folder, Terminal terminal, string name)
{
    public const string CheckpointName = TrainingFiles.CheckpointName;

    /// <summary>Trains to the options' last epoch.</summary>
    /// <param name="model">The network, or one of several ranks; its weights are those of the checkpoint, where there is one.</param>
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
        var (ranks, network) = model is DataParallel parallel ? (parallel.Ranks, parallel.Module) : (null, model);
        var checkpoint = folder?.File(CheckpointName);
        if (Sum(ranks, Path.Exists(checkpoint) ? 1 : 0) > 0)
        {
            trainer.Resume(checkpoint ?? CheckpointName);
            terminal.Say($"{name}: resumed {(trainer.StepsOfEpoch > 0 ? Place(trainer) : $"after epoch {trainer.History.Count}")}");
        }

        TrainingFiles? files = null;
        if (folder is not null)
        {
            trainer.Observers.Add(files = new(folder, trainer));
            trainer.Observers.Add(new TensorBoardLog(folder));
        }

        trainer.Observers.Add(new TrainingNews(terminal, name, options.Epochs, NetworkGroup.PlannerOf(network)));
        try
        {
            trainer.Run(train, test, finished ?? (_ => { }), cancellation, validation);
        }
        catch (OperationCanceledException)
        {
            throw new InterruptedException(Place(trainer));
        }

        if (trainer.BestEpoch is { } number && trainer.History[number - 1] is var best)
        {
            terminal.Say(
                $"{name}: {(trainer.History.Count < options.Epochs ? "patience is over; " : string.Empty)}the best of "
                + $"{trainer.History.Count} epochs is {number}, with validation accuracy {best.ValidationAccuracy:0.0000} and test "
                + $"accuracy {best.TestAccuracy:0.0000}");
        }

        var skipped = Sum(ranks, train.Skipped + (validation?.Skipped ?? 0));
        var testSkipped = Sum(ranks, test.Skipped);
        if (skipped + testSkipped > 0)
        {
            terminal.Warn(
                $"{name}: {skipped} training and {testSkipped} test images could not be decoded and were left out, "
                + "counted once an epoch");
        }

        files?.WriteMetrics();
        return [.. trainer.History];
    }

    private static double Sum(Communicator? ranks, double number) => ranks?.Gather(number).Sum(of => of[0]) ?? number;

    private static string Place(Trainer trainer) =>
        $"in epoch {trainer.History.Count + 1}" + (trainer.StepsOfEpoch > 0 ? $", after step {trainer.StepsOfEpoch}" : string.Empty);
}
