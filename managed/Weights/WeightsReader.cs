using ResNetNodes.Training;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>An open file of weights: all but the values is read and checked when it is opened.</summary>
internal abstract class WeightsReader(string path) : IDisposable
{
    /// <summary>What it holds, in its own order; no name twice.</summary>
    public abstract IReadOnlyList<StoredTensor> Tensors { get; }

    /// <summary>What was saved beside the tensors.</summary>
    public abstract IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>The file.</summary>
    protected string Path => path;

    /// <summary>Opens a file; what it begins with tells its format.</summary>
    /// <exception cref="ResNetNodesException">It is missing, damaged, or none that holds weights.</exception>
    public static WeightsReader Open(string path) => RegularFile.Open<WeightsReader>(path, stream =>
        PthFile.IsOne(stream) ? new PthFile(path, stream)
            : LegacyPthFile.IsOne(stream) ? new LegacyPthFile(path, stream)
            : SafetensorsFile.IsOne(stream) ? new SafetensorsFile(path, stream)
            : throw new ResNetNodesException(
                $"{path}: is no file of weights, or is damaged: it begins as neither safetensors, a .pth of PyTorch nor a checkpoint "
                + "of this program does"));

    /// <summary>Whether a file is a checkpoint of this program, which has a reader of its own.</summary>
    public static bool IsCheckpoint(string path)
    {
        try
        {
            using var stream = RegularFile.OpenRead(path);
            return CheckpointFile.IsOne(stream);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Makes sure that the values can be read, as far as the file tells.</summary>
    /// <param name="stored">One of <see cref="Tensors"/>.</param>
    /// <exception cref="ResNetNodesException">They can't.</exception>
    public virtual void Check(StoredTensor stored)
    {
    }

    /// <summary>Overwrites a tensor in place.</summary>
    /// <param name="stored">One of <see cref="Tensors"/>.</param>
    /// <param name="target">Of its type and shape.</param>
    /// <exception cref="IOException">The file can no longer be read.</exception>
    public abstract void Read(StoredTensor stored, Tensor target);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Lets go of the file.</summary>
    protected abstract void Dispose(bool disposing);

    /// <summary>An error about what stands in the file.</summary>
    protected ResNetNodesException Damaged(string what, Exception? inner = null)
    {
        var message = $"{path}: is damaged ({OneLine.Of(what, 200)}); get it anew, or save it again";
        return inner is null ? new(message) : new(message, inner);
    }
}
