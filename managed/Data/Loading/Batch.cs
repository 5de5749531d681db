using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Data;

/// <summary>A batch; whoever takes it disposes it.</summary>
public sealed class Batch : IDisposable
{
    internal Batch(Tensor images, Tensor labels, int index) => (Images, Labels, Index) = (images, labels, index);

    /// <summary>[B, channels, size, size] float32.</summary>
    public Tensor Images { get; }

    /// <summary>[B] int64.</summary>
    public Tensor Labels { get; }

    /// <summary>Its number in the epoch, from 0; batches that are left out count.</summary>
    public int Index { get; }

    /// <summary>B.</summary>
    public int Count => (int)Labels.shape[0];

    /// <summary>
    /// Images and labels on a device: the batch's own on the CPU, otherwise copies from pinned memory, which run while the caller goes
    /// on.
    /// </summary>
    /// <param name="device">The device of the network.</param>
    /// <returns>Both; on a GPU they belong to the caller or its dispose scope.</returns>
    public (Tensor Images, Tensor Labels) On(Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return device.type == DeviceType.CPU ? (Images, Labels) : (Copy(Images), Copy(Labels));

        Tensor Copy(Tensor tensor)
        {
            using var pinned = tensor.pin_memory();
            return pinned.to(device, non_blocking: true);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Images.Dispose();
        Labels.Dispose();
    }
}
