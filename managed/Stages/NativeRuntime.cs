using ResNetNodes.Interop;

namespace ResNetNodes;

/// <summary>
/// The native library: its version, its kernels, and the objects alive in it. What first needs the library loads it: a
/// <see cref="ResNetNodesException"/> then says what is missing, and how to add it.
/// </summary>
public static class NativeRuntime
{
    /// <summary>The library's version, the same as the product's.</summary>
    public static string Version => Native(Functions.Version);

    /// <summary>Kernel paths of the fused steps that this machine can run, best first.</summary>
    internal static IReadOnlyList<string> KernelPaths => Native<IReadOnlyList<string>>(() => [.. Functions.KernelPaths()]);

    /// <summary>The path in use; RESNET_NODES_KERNELS forces one.</summary>
    /// <exception cref="ResNetNodesException">The variable names a path that this machine can't run.</exception>
    public static string ActiveKernelPath => Native(Functions.ActiveKernelPath);

    /// <summary>
    /// Whether LibTorch may use oneDNN, its library of convolutions for CPUs. Not where the processor does not say how large its caches
    /// are, as in some virtual machines on AMD's: oneDNN computes wrong convolutions there. It is turned off when the native library is
    /// loaded; convolutions that go by LibTorch's operators are slower then.
    /// </summary>
    public static bool UsesOneDnn => Native(Functions.UsesOnednn);

    /// <summary>The number of native stages and contexts that are alive.</summary>
    public static long LiveObjects => Native(Functions.LiveObjects);

    private static T Native<T>(Func<T> function)
    {
        NativeLibraries.Require();
        return function();
    }
}
