using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// A training run between two steps, in one file that is written completely or not at all. It is written and read tensor by tensor; all
/// of a file is checked before anything that it is read into changes.
/// </summary>
public static class Checkpoint
{
    /// <summary>Writes a checkpoint: temporary file, flush to the disk, rename.</summary>
    /// <param name="path">The file.</param>
    /// <param name="model">The network whose parameters and buffers are written, whatever their values.</param>
    /// <param name="optimizer">The optimizer whose state is written; null for a network alone.</param>
    /// <param name="history">The finished epochs.</param>
    /// <exception cref="ResNetNodesException">
    /// The file can't be written, or the optimizer keeps what is no tensor, number or flag.
    /// </exception>
    public static void Save(string path, nn.Module model, OptimizerHelper? optimizer, IReadOnlyList<EpochMetrics> history) =>
        Save(path, model, optimizer, history, null, null);

    /// <summary>
    /// Reads a checkpoint into a network and an optimizer built like the saved ones. One that <see cref="Trainer.Save"/> wrote in the
    /// middle of an epoch has the weights of the last step before; that epoch is not among the finished ones.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="model">Receives parameters and buffers.</param>
    /// <param name="optimizer">Receives its state; null to read the network alone.</param>
    /// <returns>The finished epochs.</returns>
    /// <exception cref="ResNetNodesException">
    /// The file is missing or damaged, is not a checkpoint, or belongs to another network or optimizer; both are as they were.
    /// </exception>
    public static IReadOnlyList<EpochMetrics> Load(string path, nn.Module model, OptimizerHelper? optimizer)
    {
        ArgumentNullException.ThrowIfNull(model);
        using var file = CheckpointFile.Open(path);
        Restore(path, file, model, optimizer);
        return file.Header.History;
    }

    /// <summary>The finished epochs of a checkpoint, without a network.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ResNetNodesException">It is missing or damaged, or is not a checkpoint.</exception>
    internal static IReadOnlyList<EpochMetrics> ReadHistory(string path)
    {
        using var file = CheckpointFile.Open(path);
        return file.Header.History;
    }

    /// <summary>Writes a checkpoint that knows its run.</summary>
    internal static void Save(
        string path,
        nn.Module model,
        OptimizerHelper? optimizer,
        IReadOnlyList<EpochMetrics> history,
        BegunEpoch? begun,
        RunFacts? facts)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(history);
        var training = new SavedTraining(model, optimizer);
        AtomicFile.Write(path, stream => training.Write(stream, history, begun, facts));
    }

    /// <summary>Reads an open checkpoint.</summary>
    internal static void Restore(string path, CheckpointFile file, nn.Module model, OptimizerHelper? optimizer)
    {
        try
        {
            new SavedTraining(model, optimizer).Restore(file);
        }
        catch (FormatException exception)
        {
            throw new ResNetNodesException(
                $"{path}: belongs to another network ({exception.Message}); use the options that it was trained with", exception);
        }
    }
}
