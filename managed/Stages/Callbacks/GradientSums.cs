using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>Gradients of tensors, each summed over the functions that use it.</summary>
internal sealed class GradientSums : IDisposable
{
    private readonly Dictionary<IntPtr, Tensor> sums = [];

    /// <summary>Adds a gradient, where there is one.</summary>
    public void Add(Tensor of, Tensor? gradient)
    {
        if (gradient is null || gradient.IsInvalid)
        {
            return;
        }

        using var guard = no_grad();
        if (sums.TryGetValue(TensorIdentity.Of(of), out var sum))
        {
            sum.add_(gradient);
        }
        else
        {
            sums[TensorIdentity.Of(of)] = gradient.detach().DetachFromDisposeScope();
        }
    }

    /// <summary>The sum, handed over; null where nothing was added.</summary>
    public Tensor? Take(Tensor of) => !of.IsInvalid && sums.Remove(TensorIdentity.Of(of), out var sum) ? sum : null;

    public void Dispose()
    {
        foreach (var sum in sums.Values)
        {
            sum.Dispose();
        }

        sums.Clear();
    }
}
