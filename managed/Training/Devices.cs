using System.Globalization;
using TorchSharp;

namespace ResNetNodes.Training;

/// <summary>Devices by name: cpu, cuda (the first GPU), cuda:K.</summary>
internal static class Devices
{
    /// <summary>Reads a name; does not check that the device exists.</summary>
    /// <param name="text">cpu, cuda or cuda:K, K from 0.</param>
    /// <returns>The device; it prints as its name, with the number of a GPU.</returns>
    /// <exception cref="ArgumentException">The text names none.</exception>
    public static torch.Device Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        const string prefix = "cuda:";
        var index = 0;
        return text == "cpu"
            ? torch.CPU
            : text == "cuda" || (text.StartsWith(prefix, StringComparison.Ordinal)
                && int.TryParse(text.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out index))
            ? new torch.Device(DeviceType.CUDA, index)
            : throw new ArgumentException($"device '{text}' is unknown, expected cpu, cuda or cuda:K, K a whole number from 0");
    }

    /// <summary>Checks that this build of LibTorch and this machine have a device.</summary>
    /// <param name="device">The device.</param>
    /// <exception cref="ResNetNodesException">They don't; the message says what would help.</exception>
    public static void Require(torch.Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (device.type == DeviceType.CPU)
        {
            return;
        }

        if (device.type != DeviceType.CUDA)
        {
            throw new ResNetNodesException($"device {device}: the native engine runs on cpu and cuda");
        }

        if (!torch.cuda.is_available())
        {
            throw new ResNetNodesException(
                $"device {device}: this build of LibTorch has no CUDA, or the machine has no GPU (nvidia-smi lists them); "
                + "TorchBackend=cuda ./build.sh builds with CUDA");
        }

        var count = torch.cuda.device_count();
        if (device.index >= count)
        {
            throw new ResNetNodesException($"device {device}: there {(count == 1 ? "is 1 GPU" : $"are {count} GPUs")}, numbered from 0");
        }
    }
}
