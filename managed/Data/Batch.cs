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

    /// <summary>
    /// Images and labels on a device: the batch's own on the CPU, else copies that are made, from memory that the GPU reads by
    /// itself, while the caller goes on.
    /// </summary>
    /// <param name="device">Where the network is.</param>
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
