using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Data;

/// <summary>A batch; whoever takes it disposes it.</summary>
/// <param name="Images">[B, channels, size, size] float32.</param>
/// <param name="Labels">[B] int64.</param>
public sealed record Batch(Tensor Images, Tensor Labels) : IDisposable
{
    /// <summary>B.</summary>
    public int Count => (int)Labels.shape[0];

    /// <inheritdoc/>
    public void Dispose()
    {
        Images.Dispose();
        Labels.Dispose();
    }
}
