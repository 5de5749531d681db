using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Measuring;

/// <summary>
/// Starts a backward pass with a gradient of a tensor that is gone by then, as in the middle of a network: a plain backward() would hold
/// the tensor.
/// </summary>
internal sealed class GivenGradient : autograd.SingleTensorFunction<GivenGradient>
{
    private const string Key = "gradient";

    public override string Name => nameof(GivenGradient);

    /// <summary>The number to call backward() of.</summary>
    /// <param name="output">Whose gradient is given.</param>
    /// <param name="gradient">Like the output.</param>
    public static Tensor For(Tensor output, Tensor gradient) => apply(output, new Box(gradient));

    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        ctx.save_data(Key, vars[1]);
        return zeros(1);
    }

    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        grad_output.Dispose();
        return [((Box)ctx.get_data(Key)).Gradient, null!];
    }

    // No argument that autograd would want a gradient of.
    private sealed record Box(Tensor Gradient);
}
