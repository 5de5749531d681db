using System.Runtime.InteropServices;

namespace ResNetNodes.Measuring;

/// <summary>glibc's allocator, from which LibTorch takes the memory of CPU tensors.</summary>
public static partial class Allocator
{
    private const int TrimThreshold = -1, MmapThreshold = -3; // mallopt's names of them
    private const int KeptBytes = 1 << 30, LargestBlock = 32 << 20;
    private static readonly string[] Variables =
        ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD"];

    /// <summary>
    /// Keeps up to 1 GiB of the memory that training steps free for the steps that follow. By default, glibc returns the end of its heap to
    /// the system as soon as a few megabytes are free there, so that each step asks for the same pages again; if the system runs
    /// in a virtual machine, that can take as much time as the step itself. The peak is the same; less is returned between steps.
    /// </summary>
    /// <returns>
    /// Whether it was done: not if MALLOC_*, GLIBC_TUNABLES or LD_PRELOAD are set, nor with another C library.
    /// </returns>
    public static bool KeepFreedMemory()
    {
        if (Variables.Any(name => !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(name))))
        {
            return false;
        }

        try
        {
            return mallopt(TrimThreshold, KeptBytes) == 1 && mallopt(MmapThreshold, LargestBlock) == 1;
        }
        catch (Exception exception) when (exception is EntryPointNotFoundException or DllNotFoundException)
        {
            return false;
        }
    }

    [LibraryImport("libc")]
    private static partial int mallopt(int parameter, int value);
}
