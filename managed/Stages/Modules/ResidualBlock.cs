using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// An ordinary residual block, ReLU(branch(x) + shortcut(x)), that may change the shape of its input: the first of a stage. Native layers
/// know it, inside of a recomputed part and of a residual function.
/// </summary>
public sealed class ResidualBlock : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor> branch;
    private readonly nn.Module<Tensor, Tensor>? shortcut;

    /// <summary>A block of two branches.</summary>
    /// <param name="branch">The branch.</param>
    /// <param name="shortcut">What is added to it, of the same shape; null: x itself.</param>
    public ResidualBlock(nn.Module<Tensor, Tensor> branch, nn.Module<Tensor, Tensor>? shortcut = null)
        : base(nameof(ResidualBlock))
    {
        ArgumentNullException.ThrowIfNull(branch);
        (this.branch, this.shortcut) = (branch, shortcut);
        RegisterComponents();
    }

    /// <summary>The branch.</summary>
    public nn.Module<Tensor, Tensor> Branch => branch;

    /// <summary>What is added to it; null: x itself.</summary>
    public nn.Module<Tensor, Tensor>? Shortcut => shortcut;

    /// <summary>ReLU(branch(x) + shortcut(x)).</summary>
    /// <param name="input">x, of any shape that the branches take.</param>
    /// <returns>A tensor of the branches' output shape.</returns>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        return (branch.call(input) + (shortcut?.call(input) ?? input)).relu_().MoveToOuterDisposeScope();
    }
}
