using System.Runtime.InteropServices;
using TorchSharp;

namespace ResNetNodes.Training;

/// <summary>A GPU's free memory, asked of the CUDA run time that LibTorch brought along.</summary>
internal static unsafe class DeviceMemory
{
    // Its major version is that of the LibTorch package: the ones for which LibTorch from 2.10 on is built.
    private static readonly string[] RunTimes = ["libcudart.so.12", "libcudart.so.13", "libcudart.so"];

    /// <summary>Free and total bytes of a GPU.</summary>
    public static long FreeBytes(torch.Device device, out long total)
    {
        var library = IntPtr.Zero;
        if (!RunTimes.Any(name => NativeLibrary.TryLoad(name, typeof(torch).Assembly, null, out library)))
        {
            throw new ResNetNodesException($"device memory: none of {string.Join(", ", RunTimes)} can be loaded; put the CUDA run time's folder into LD_LIBRARY_PATH");
        }

        var setDevice = (delegate* unmanaged<int, int>)NativeLibrary.GetExport(library, "cudaSetDevice");
        var memGetInfo = (delegate* unmanaged<nuint*, nuint*, int>)NativeLibrary.GetExport(library, "cudaMemGetInfo");
        nuint free, all;
        if (setDevice(Math.Max(device.index, 0)) != 0 || memGetInfo(&free, &all) != 0)
        {
            throw new ResNetNodesException($"device memory: the CUDA run time does not answer for {device}");
        }

        total = (long)all;
        return (long)free;
    }
}
