using System.Globalization;
using System.Runtime.InteropServices;
using TorchSharp;

namespace ResNetNodes.Measuring;

/// <summary>Resident memory of this process, as Linux accounts for it, and memory of a GPU, from the CUDA runtime.</summary>
public static partial class MemoryProbe
{
    /// <summary>The high-water mark since <see cref="ResetPeak"/> or the start, in bytes.</summary>
    public static long PeakBytes => Read("VmHWM:");

    /// <summary>What is resident now, in bytes.</summary>
    public static long ResidentBytes => Read("VmRSS:");

    /// <summary>Resets the high-water mark.</summary>
    public static void ResetPeak() => File.WriteAllText("/proc/self/clear_refs", "5");

    /// <summary>Resident bytes after garbage is gone from both heaps, managed and native.</summary>
    /// <returns>Bytes.</returns>
    internal static long ResidentAtRest()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        _ = malloc_trim(0);
        return ResidentBytes;
    }

    /// <summary>Peak of steady training steps, and how much of it is the step's own.</summary>
    /// <param name="step">A training step that disposes what it makes.</param>
    /// <param name="warmup">Steps before, so that gradients, optimizer state and allocator are in place.</param>
    /// <param name="repeats">Measured steps; the smallest figure stands, as noise only adds.</param>
    /// <returns>Peak in bytes, and peak less what is resident at rest between steps.</returns>
    public static (long PeakBytes, long StepBytes) Measure(Action step, int warmup = 3, int repeats = 5)
    {
        ArgumentNullException.ThrowIfNull(step);
        for (var i = 0; i < warmup; i++)
        {
            step();
        }

        var (peak, own) = (long.MaxValue, long.MaxValue);
        for (var i = 0; i < repeats; i++)
        {
            var rest = ResidentAtRest();
            ResetPeak();
            step();
            var high = PeakBytes;
            peak = Math.Min(peak, high);
            own = Math.Min(own, high - rest);
        }

        return (peak, Math.Max(own, 0));
    }

    /// <summary>The same on a device. A GPU's figures are what LibTorch's allocator has reserved there, which only grows.</summary>
    /// <param name="step">A training step that disposes what it makes; the first of the process on that GPU.</param>
    /// <param name="device">Where it runs.</param>
    /// <returns>Peak in bytes, and the growth from before the first step, which holds gradients and optimizer state on a GPU.</returns>
    /// <exception cref="ResNetNodesException">The CUDA runtime is not found beside LibTorch.</exception>
    public static (long PeakBytes, long StepBytes) Measure(Action step, torch.Device device)
    {
        ArgumentNullException.ThrowIfNull(step);
        ArgumentNullException.ThrowIfNull(device);
        if (device.type == DeviceType.CPU)
        {
            return Measure(step);
        }

        var (free, total) = DeviceMemory.Of(device);
        for (var i = 0; i < 4; i++)
        {
            step();
        }

        torch.cuda.synchronize(device);
        var (left, _) = DeviceMemory.Of(device);
        return (total - left, free - left);
    }

    /// <summary>
    /// The high-water mark where a device's tensors live: the process's since <see cref="ResetPeak"/>; a GPU's memory in use, other
    /// processes' included: LibTorch's allocator gives nothing back, so that what is taken now is the most since the start.
    /// </summary>
    /// <param name="device">Where it runs.</param>
    /// <returns>Bytes.</returns>
    /// <exception cref="ResNetNodesException">The CUDA runtime is not found beside LibTorch.</exception>
    public static long PeakBytesOn(torch.Device device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (device.type == DeviceType.CPU)
        {
            return PeakBytes;
        }

        torch.cuda.synchronize(device);
        var (free, total) = DeviceMemory.Of(device);
        return total - free;
    }

    private static long Read(string key)
    {
        foreach (var line in File.ReadLines("/proc/self/status"))
        {
            if (line.StartsWith(key, StringComparison.Ordinal))
            {
                return long.Parse(line.AsSpan(key.Length).Trim().TrimEnd(" kB"), CultureInfo.InvariantCulture) * 1024;
            }
        }

        throw new ResNetNodesException($"/proc/self/status has no {key} line; memory is measured on Linux only");
    }

    [LibraryImport("libc")]
    private static partial int malloc_trim(nuint pad);
}
