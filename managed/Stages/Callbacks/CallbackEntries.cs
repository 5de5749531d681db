using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ResNetNodes.Interop;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>The addresses that the native engine calls, and the callbacks behind them.</summary>
internal static unsafe class CallbackEntries
{
    // Native code holds a number, not an address: a tape that outlives its callback then finds nothing, and does nothing.
    private static readonly ConcurrentDictionary<long, WeakReference<ModuleCallback>> Living = new();
    private static long lastId;

    /// <summary>Lets native code reach a callback, by the number that is returned.</summary>
    public static long Add(ModuleCallback callback)
    {
        var id = Interlocked.Increment(ref lastId);
        Living[id] = new WeakReference<ModuleCallback>(callback);
        return id;
    }

    /// <summary>Native code no longer reaches the callback.</summary>
    public static void Remove(long id) => Living.TryRemove(id, out _);

    /// <summary>What a native stage calls to reach a callback.</summary>
    public static CallbackTable Table(long id) => new()
    {
        Evaluate = (IntPtr)(delegate* unmanaged[Cdecl]<IntPtr, long, long, int, long, IntPtr, IntPtr*, int>)&Evaluate,
        Vjp = (IntPtr)(delegate* unmanaged[Cdecl]<IntPtr, long, long, IntPtr, IntPtr*, int>)&Vjp,
        Drop = (IntPtr)(delegate* unmanaged[Cdecl]<IntPtr, long, void>)&Drop,
        User = (IntPtr)id,
    };

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Evaluate(IntPtr user, long function, long use, int evaluation, long slot, IntPtr x, IntPtr* result) =>
        Guard(user, x, result, (callback, state) => callback.Evaluate((int)function, use, (Evaluation)evaluation, slot, state));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Vjp(IntPtr user, long function, long slot, IntPtr cotangent, IntPtr* result) =>
        Guard(user, cotangent, result, (callback, grad) => callback.Vjp((int)function, slot, grad));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Drop(IntPtr user, long slot) => Find(user)?.Drop(slot);

    private static ModuleCallback? Find(IntPtr user) =>
        Living.TryGetValue(user, out var weak) && weak.TryGetTarget(out var callback) ? callback : null;

    // No exception may leave: C++ frames lie between here and the caller. The argument is owned; the result is the callback's, which
    // keeps it until it is called again.
    private static int Guard(IntPtr user, IntPtr argument, IntPtr* result, Func<ModuleCallback, Tensor, Tensor?> action)
    {
        using var tensor = Tensor.UnsafeCreateTensor(argument).DetachFromDisposeScope();
        var callback = Find(user);
        if (callback is null)
        {
            return 1;
        }

        try
        {
            *result = callback.Result(() => action(callback, tensor))?.Handle ?? IntPtr.Zero;
            return 0;
        }
        catch (Exception exception)
        {
            callback.Fail(exception);
            return 1;
        }
    }
}
