using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>Whether two TorchSharp tensors are one: wrappers may be several.</summary>
internal static class TensorIdentity
{
    /// <summary>The same number for all wrappers of one tensor: a handle is the address of a pointer to it (at::Tensor).</summary>
    public static IntPtr Of(Tensor tensor) => Marshal.ReadIntPtr(tensor.Handle);
}
