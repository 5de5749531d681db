using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>
/// A tensor without elements that autograd's graph saves, so that what belongs to a call ends with its graph and does not wait for the
/// garbage collector: a graph that is dropped without a backward pass tells nobody else.
/// </summary>
internal static unsafe partial class GraphToken
{
    private static readonly ConcurrentDictionary<long, Action> Ends = new();
    private static long last;

    /// <summary>A token.</summary>
    /// <param name="ended">Called once, from any thread, when the last owner lets go of it. Must not throw.</param>
    public static Tensor New(Action ended)
    {
        var id = Interlocked.Increment(ref last);
        Ends[id] = ended;
        long size = 0;
        // The address of no elements is a number of ours, which comes back when they are freed.
        var handle = THSTensor_new(
            (IntPtr)id, &Ended, &size, 1, (sbyte)ScalarType.Byte, (sbyte)ScalarType.Byte, (int)DeviceType.CPU, -1, 0);
        return Tensor.UnsafeCreateTensor(handle).DetachFromDisposeScope();
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Ended(IntPtr id)
    {
        if (Ends.TryRemove(id, out var ended))
        {
            ended();
        }
    }

    [LibraryImport("LibTorchSharp")]
    private static partial IntPtr THSTensor_new(
        IntPtr data, delegate* unmanaged[Cdecl]<IntPtr, void> deleter, long* sizes, int dimensions, sbyte type, sbyte resultType,
        int deviceType, int deviceIndex, byte requiresGrad);
}
