using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>
/// What one call of a stage was made with: all that its forward pass reads besides the state, as it was then. The way back needs the
/// same, whatever has become of the modules and options since: it uses what is captured here, the native engine and the callback refuse
/// what has changed under it.
/// </summary>
/// <param name="Configuration">Functions and options; held until the call is over.</param>
/// <param name="Stage">The native stage.</param>
/// <param name="Callback">The functions as TorchSharp runs them; null where they are native layers.</param>
/// <param name="Parameters">The parameters of the functions, which autograd knows.</param>
/// <param name="Wanted">Which of them want a gradient: 1, else 0.</param>
/// <param name="Buffers">The buffers of native layers.</param>
/// <param name="Modes">Of each native batch normalization: 1 where it trains, 0 where it is frozen.</param>
/// <param name="Extras">The extra inputs, which autograd knows.</param>
/// <param name="InputWanted">Whether the way back is to give the gradient of x.</param>
/// <param name="Recorded">Whether autograd records the call, so that a backward pass may follow.</param>
internal sealed record CallSnapshot(
    StageConfiguration Configuration,
    Stage Stage,
    ModuleCallback? Callback,
    IReadOnlyList<Tensor> Parameters,
    int[] Wanted,
    IReadOnlyList<Tensor> Buffers,
    int[] Modes,
    IReadOnlyList<Tensor> Extras,
    bool InputWanted,
    bool Recorded) : IDisposable
{
    private int disposed;

    /// <summary>
    /// Which of the parameters that the native stage reads want a gradient: a callback's functions have theirs themselves.
    /// </summary>
    public int[] NativeWanted => Callback is null ? Wanted : [];

    /// <summary>Whether gradients of the parameters may go straight to their <c>.grad</c>.</summary>
    public bool AccumulatesInPlace => Callback is null && Configuration.Options.AccumulateGradientsInPlace;

    /// <summary>A forward pass of the native stage.</summary>
    public Interop.StageContext Forward(Tensor x)
    {
        if (Callback is null)
        {
            return Stage.Forward(x, Parameters, Buffers, Modes);
        }

        using var table = Callback.Table;
        return Stage.Forward(x, table);
    }

    /// <summary>The same where no way back follows.</summary>
    public Tensor Evaluate(Tensor x)
    {
        if (Callback is null)
        {
            return Stage.Evaluate(x, Parameters, Buffers, Modes);
        }

        using var table = Callback.Table;
        return Stage.Evaluate(x, table);
    }

    /// <summary>Ends the call: its callback, and its hold on the configuration.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) != 0)
        {
            return;
        }

        Callback?.Dispose();
        Configuration.Leave();
    }
}
