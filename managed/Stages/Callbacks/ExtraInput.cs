using ResNetNodes.Interop;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>An extra input of a stage's call, held for its way back: the caller's own wrapper may be disposed by then.</summary>
internal sealed class ExtraInput : IDisposable
{
    private readonly bool wanted;
    private readonly long version;

    /// <param name="given">The caller's tensor.</param>
    /// <param name="recorded">Whether a way back may follow.</param>
    public ExtraInput(Tensor given, bool recorded)
    {
        wanted = recorded && given.requires_grad;
        Tensor = given.detach().DetachFromDisposeScope();
        version = recorded ? Functions.TensorVersion(Tensor) : 0;
    }

    /// <summary>The same memory, without a graph.</summary>
    public Tensor Tensor { get; }

    /// <summary>What a function is given: a leaf that asks for a gradient where the caller's tensor does.</summary>
    public Tensor ForCall() => Tensor.detach().requires_grad_(wanted);

    /// <exception cref="ResNetNodesException">It was changed in place since the forward pass.</exception>
    public void RequireSame()
    {
        if (Functions.TensorVersion(Tensor) != version)
        {
            throw new ResNetNodesException(
                "the condition was changed in place since the forward pass; run the forward pass again before the backward pass");
        }
    }

    public void Dispose() => Tensor.Dispose();
}
