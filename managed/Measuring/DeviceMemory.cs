using System.Runtime.InteropServices;
using TorchSharp;

namespace ResNetNodes.Measuring;

/// <summary>A GPU's free memory, asked of the CUDA run time that LibTorch brought along: TorchSharp has no memory statistics.</summary>
internal static unsafe class DeviceMemory
{
    // Its major version is that of the LibTorch package: the ones for which LibTorch from 2.10 on is built.
    private static readonly string[] RunTimes = ["libcudart.so.12", "libcudart.so.13", "libcudart.so"];

    /// <summary>Free and total bytes of a GPU. What other processes have taken there is not free.</summary>
    public static (long Free, long Total) Of(torch.Device device)
    {
        var library = Library();
        var getDevice = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(library, "cudaGetDevice");
        var setDevice = (delegate* unmanaged<int, int>)NativeLibrary.GetExport(library, "cudaSetDevice");
        var memGetInfo = (delegate* unmanaged<nuint*, nuint*, int>)NativeLibrary.GetExport(library, "cudaMemGetInfo");
        int current;
        nuint free = 0, total = 0;
        var answers = getDevice(&current) == 0 && setDevice(Math.Max(device.index, 0)) == 0;
        if (answers)
        {
            answers = memGetInfo(&free, &total) == 0;
            // The thread's current device belongs to LibTorch.
            answers &= setDevice(current) == 0;
        }

        return answers
            ? ((long)free, (long)total)
            : throw new ResNetNodesException($"device memory: the CUDA runtime gives no answer for {device}");
    }

    private static IntPtr Library()
    {
        // LibTorch's archives give the file a name of their own, such as libcudart-c3a75b33.so.12: the one that is loaded is it.
        var loaded = File.ReadLines("/proc/self/maps").Select(line => line[(line.LastIndexOf(' ') + 1)..])
            .FirstOrDefault(path => Path.GetFileName(path).StartsWith("libcudart", StringComparison.Ordinal));
        var library = IntPtr.Zero;
        return (loaded is not null && NativeLibrary.TryLoad(loaded, out library))
            || RunTimes.Any(name => NativeLibrary.TryLoad(name, typeof(torch).Assembly, null, out library))
            ? library
            : throw new ResNetNodesException(
                $"device memory: none of {string.Join(", ", RunTimes)} can be loaded; add the CUDA runtime's folder to "
                + "LD_LIBRARY_PATH");
    }
}
