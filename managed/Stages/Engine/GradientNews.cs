using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>What one call tells a listener of the gradients that its way back adds to.</summary>
internal sealed unsafe class GradientNews : IDisposable
{
    private readonly IGradientListener listener;
    private readonly IReadOnlyList<Tensor> parameters;
    private readonly bool[] told;
    private ExceptionDispatchInfo? failure;
    private int disposed;

    /// <param name="listener">Who is told.</param>
    /// <param name="parameters">Those of the stage, in the engine's order.</param>
    public GradientNews(IGradientListener listener, IReadOnlyList<Tensor> parameters)
    {
        (this.listener, this.parameters, told) = (listener, parameters, new bool[parameters.Count]);
        listener.Expect(parameters);
    }

    /// <summary>Runs the way back, which tells as it goes.</summary>
    /// <param name="back">Takes the engine's listener.</param>
    public void During(Action<GradientListener> back)
    {
        listener.Begin(parameters);
        var self = GCHandle.Alloc(this);
        try
        {
            using var native = new GradientListener
            {
                Ready = (IntPtr)(delegate* unmanaged[Cdecl]<IntPtr, long, long, int>)&Ready,
                User = GCHandle.ToIntPtr(self),
            };
            back(native);
        }
        catch (ResNetNodesException) when (failure is not null)
        {
            failure.Throw();
        }
        finally
        {
            self.Free();
        }
    }

    /// <summary>The call is over.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) != 0)
        {
            return;
        }

        for (var i = 0; i < told.Length; i++)
        {
            if (!told[i])
            {
                listener.Leave(parameters[i]);
            }
        }
    }

    // No exception may leave: C++ frames lie between here and the caller.
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Ready(IntPtr user, long first, long count)
    {
        var self = (GradientNews)GCHandle.FromIntPtr(user).Target!;
        try
        {
            for (var i = (int)first; i < first + count; i++)
            {
                self.told[i] = true;
                self.listener.Ready(self.parameters[i]);
            }

            return 0;
        }
        catch (Exception exception)
        {
            self.failure = ExceptionDispatchInfo.Capture(exception);
            return 1;
        }
    }
}
