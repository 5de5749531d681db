using System.Runtime.InteropServices;
using TorchSharp;

namespace ResNetNodes.Interop;

/// <summary>How tensors and lists of them cross the boundary: handles are borrowed or handed over, data is never copied.</summary>
internal static unsafe class TensorMarshal
{
    /// <summary>
    /// The tensor's handle, together with the tensor, which so stays alive through the call. Null is an undefined tensor.
    /// </summary>
    public static HandleRef Borrow(torch.Tensor? tensor) =>
        tensor is null ? new HandleRef(null, IntPtr.Zero) : new HandleRef(tensor, tensor.Handle);

    /// <summary>The handles, led by their number. The caller keeps the list alive through the call.</summary>
    public static IntPtr[] BorrowList(IReadOnlyList<torch.Tensor?> tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        var handles = new IntPtr[tensors.Count + 1];
        handles[0] = tensors.Count;
        for (var i = 0; i < tensors.Count; i++)
        {
            handles[i + 1] = tensors[i]?.Handle ?? IntPtr.Zero;
        }

        return handles;
    }

    /// <summary>Wraps a handle that native code gave away; null where it stands for an undefined tensor.</summary>
    public static torch.Tensor? Own(IntPtr handle) => handle == IntPtr.Zero ? null : torch.Tensor.UnsafeCreateTensor(handle);

    /// <summary>Wraps a list of handles that native code gave away, and frees the array that it came in.</summary>
    public static torch.Tensor?[] OwnList(IntPtr list)
    {
        var handles = (IntPtr*)list;
        var tensors = new torch.Tensor?[(int)handles[0]];
        for (var i = 0; i < tensors.Length; i++)
        {
            tensors[i] = Own(handles[i + 1]);
        }

        NativeMemory.Free(handles);
        return tensors;
    }

    /// <summary>Flags, led by their number.</summary>
    public static int[] WithLength(int[] values)
    {
        ArgumentNullException.ThrowIfNull(values);
        return [values.Length, .. values];
    }
}
