using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// The residual function of an ordinary block: f(x) = max(branch(x), −x), so that x + f(x) = ReLU(x + branch(x)), with one rounding where
/// that is positive and 0 elsewhere. In a stage with step size 1. Native layers know it.
/// </summary>
public sealed class RectifiedBranch : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor> branch;

    /// <summary>The residual function of a block with this branch.</summary>
    /// <param name="branch">The branch, which keeps a state's shape.</param>
    /// <exception cref="ArgumentNullException">No branch.</exception>
    public RectifiedBranch(nn.Module<Tensor, Tensor> branch)
        : base(nameof(RectifiedBranch))
    {
        ArgumentNullException.ThrowIfNull(branch);
        this.branch = branch;
        RegisterComponents();
    }

    /// <summary>The branch.</summary>
    public nn.Module<Tensor, Tensor> Branch => branch;

    /// <summary>max(branch(x), −x). Where both are equal the gradient is that of −x, as ReLU's is 0 at 0.</summary>
    /// <param name="input">x, of any shape that the branch keeps.</param>
    /// <returns>A tensor of that shape.</returns>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var value = branch.call(input);
        // So asked, what is no number stays so.
        return where((value + input).le(0), input.neg(), value).MoveToOuterDisposeScope();
    }
}
