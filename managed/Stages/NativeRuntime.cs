using ResNetNodes.Interop;

namespace ResNetNodes;

/// <summary>What the native library is and what it holds.</summary>
public static class NativeRuntime
{
    /// <summary>The library's version; that of the product.</summary>
    public static string Version => Functions.Version();

    /// <summary>Kernel paths of the fused steps that this machine can run, best first.</summary>
    internal static IReadOnlyList<string> KernelPaths => [.. Functions.KernelPaths()];

    /// <summary>The path in use; RESNET_NODES_KERNELS forces one.</summary>
    /// <exception cref="ResNetNodesException">The variable names a path that this machine can't run.</exception>
    public static string ActiveKernelPath => Functions.ActiveKernelPath();

    /// <summary>Native stages and contexts that are alive.</summary>
    public static long LiveObjects => Functions.LiveObjects();
}
