using TorchSharp;

namespace ResNetNodes.Experiments.Cli;

/// <summary>What computes here.</summary>
internal static class Runtime
{
    public static string Describe() =>
        $"native engine {NativeRuntime.Version}, kernel path {NativeRuntime.ActiveKernelPath}, {torch.get_num_threads()} threads"
        + (NativeRuntime.UsesOneDnn ? string.Empty : ", without oneDNN (docs/troubleshooting.md)");
}
