using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>
/// What one call of a stage was made with: all that its forward pass reads besides the state, as it was then. The way back needs the
/// same, whatever has become of the modules and options since.
/// </summary>
/// <param name="Stage">The native stage.</param>
/// <param name="Callback">The functions as TorchSharp runs them; null where they are native layers. The stage is the call's own then.</param>
/// <param name="Parameters">The parameters of the functions.</param>
/// <param name="Inputs">What autograd knows of the parameters: themselves, or what stands for them where their gradients bypass it.</param>
/// <param name="Buffers">The buffers of native layers.</param>
/// <param name="Extras">The extra inputs.</param>
/// <param name="Training">Whether the stage is in training mode.</param>
/// <param name="Recorded">Whether autograd records the call, so that a backward pass may follow.</param>
internal sealed record CallSnapshot(
    Stage Stage,
    ModuleCallback? Callback,
    IReadOnlyList<Tensor> Parameters,
    IReadOnlyList<Tensor> Inputs,
    IReadOnlyList<Tensor> Buffers,
    IReadOnlyList<Tensor> Extras,
    bool Training,
    bool Recorded) : IDisposable
{
    /// <summary>The parameters that the native stage reads: a callback's functions have theirs themselves.</summary>
    public IReadOnlyList<Tensor> NativeParameters => Callback is null ? Parameters : [];

    /// <summary>Whether gradients of the parameters go straight to their <c>.grad</c>.</summary>
    public bool BypassesAutograd => !ReferenceEquals(Inputs, Parameters);

    /// <summary>Ends what is the call's own: its callback, and that one's stage.</summary>
    public void Dispose()
    {
        if (Callback is not null)
        {
            Stage.Dispose();
            Callback.Dispose();
        }
    }
}
