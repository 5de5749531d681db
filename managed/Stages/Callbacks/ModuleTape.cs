using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>What one evaluation keeps for its vector-Jacobian product.</summary>
internal sealed class ModuleTape : IDisposable
{
    /// <param name="input">The state as a leaf.</param>
    /// <param name="output">The function's value; it may be the user's own tensor, and stays so.</param>
    /// <param name="extras">The extra inputs as leaves.</param>
    public ModuleTape(Tensor input, Tensor output, IReadOnlyList<Tensor> extras)
    {
        Input = input.DetachFromDisposeScope();
        Output = output.alias().DetachFromDisposeScope();
        Extras = [.. extras.Select(extra => extra.DetachFromDisposeScope())];
    }

    public Tensor Input { get; }

    public Tensor Output { get; }

    public IReadOnlyList<Tensor> Extras { get; }

    public void Dispose()
    {
        Input.Dispose();
        Output.Dispose();
        foreach (var extra in Extras)
        {
            extra.Dispose();
        }
    }
}
