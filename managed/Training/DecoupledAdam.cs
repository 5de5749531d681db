using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// TorchSharp's AdamW (Loshchilov and Hutter, arXiv 1711.05101) with a step of its own: p ← p − rate·decay·p;
/// m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²;
/// p ← p − rate/(1 − β₁ᵗ) · m / (√(v/(1 − β₂ᵗ)) + ε) in step t. The library's makes nine unnamed Scalars a parameter,
/// which the garbage collector may free while LibTorch reads them.
/// </summary>
/// <remarks>
/// Memory: m and v, two tensors of each parameter's size and type, from the beginning. The step works in place, with one tensor of the
/// size of the parameter at hand, and leaves gradients as they are.
/// </remarks>
public sealed class DecoupledAdam : AdamW
{
    /// <summary>For parameters of one rate.</summary>
    /// <param name="parameters">What is trained.</param>
    /// <param name="learningRate">The rate, above 0.</param>
    /// <param name="beta1">Of the mean of gradients: from 0 to below 1.</param>
    /// <param name="beta2">Of the mean of their squares: from 0 to below 1.</param>
    /// <param name="epsilon">Added to the root: above 0.</param>
    /// <param name="weightDecay">0 or more.</param>
    public DecoupledAdam(
        IEnumerable<Parameter> parameters,
        double learningRate = 1e-3,
        double beta1 = 0.9,
        double beta2 = 0.999,
        double epsilon = 1e-8,
        double weightDecay = 0.01)
        : this([new AdamW.ParamGroup(parameters, learningRate, beta1, beta2, epsilon, weightDecay)], learningRate)
    {
    }

    /// <summary>For groups of parameters.</summary>
    /// <param name="groups">Each with its rate, betas, epsilon and weight decay.</param>
    /// <param name="learningRate">The rate of groups without one.</param>
    /// <exception cref="ArgumentException">A group asks for what this step has not: AMSGrad, maximizing.</exception>
    public DecoupledAdam(IEnumerable<AdamW.ParamGroup> groups, double learningRate = 1e-3)
        : base(groups, learningRate)
    {
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The group asks for what this step has not.</exception>
    public override void add_param_group(TorchSharp.Modules.ParamGroup param_group)
    {
        base.add_param_group(param_group);
        var options = ((AdamW.ParamGroup)param_group).Options;
        if (options.amsgrad == true || options.maximize == true)
        {
            throw new ArgumentException("DecoupledAdam has no AMSGrad and does not maximize; take TorchSharp's AdamW");
        }

        foreach (var parameter in param_group.Parameters)
        {
            // TorchSharp leaves them to the scope that the caller happens to be in.
            var state = (State)_state[parameter.Handle];
            state.exp_avg.DetachFromDisposeScope();
            state.exp_avg_sq.DetachFromDisposeScope();
        }
    }

    /// <inheritdoc/>
    public override Tensor step(Func<Tensor>? closure = null)
    {
        var loss = closure?.Invoke();
        using var guard = no_grad();
        foreach (var group in ParamGroups.Cast<ParamGroup>())
        {
            var (options, rate) = (group.Options, group.LearningRate);
            var (beta1, beta2) = group.Betas;
            using Scalar kept = 1 - (rate * options.weight_decay!.Value), epsilon = options.eps!.Value, one = 1;
            using Scalar keptMean = beta1, newMean = 1 - beta1, keptSquare = beta2, newSquare = 1 - beta2;
            foreach (var parameter in group.Parameters)
            {
                using var scope = NewDisposeScope();
                if (parameter.grad is not { } gradient)
                {
                    continue;
                }

                var state = (State)_state[parameter.Handle];
                state.step++;
                if (options.weight_decay != 0)
                {
                    parameter.mul_(kept);
                }

                state.exp_avg.mul_(keptMean).add_(gradient, newMean);
                state.exp_avg_sq.mul_(keptSquare).addcmul_(gradient, gradient, newSquare);
                using Scalar root = 1 / Math.Sqrt(1 - Math.Pow(beta2, state.step));
                using Scalar down = -rate / (1 - Math.Pow(beta1, state.step));
                // Without the second, TorchSharp makes one that nothing refers to.
                var spread = state.exp_avg_sq.sqrt().mul_(root).add_(epsilon, one);
                parameter.addcdiv_(state.exp_avg, spread, down);
            }
        }

        return loss!;
    }
}
