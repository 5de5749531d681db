using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// TorchSharp's SGD with momentum and weight decay, with a step of its own: g ← g + decay·p; v ← momentum·v + g;
/// p ← p − rate·v, where v begins as the first g. The library's makes three unnamed Scalars a parameter, which the garbage
/// collector may free while LibTorch reads them (the step then fails with "Expected false to be true", or moves by a wrong number),
/// and a copy of every gradient where weights decay, memory that grows with depth.
/// </summary>
/// <remarks>
/// Memory: v, a tensor of each parameter's size and type, from the first step on; none without momentum. The step itself works in place;
/// it leaves g, decay included, as the parameter's gradient.
/// </remarks>
public sealed class MomentumSgd : SGD
{
    /// <summary>For parameters of one rate.</summary>
    /// <param name="parameters">What is trained.</param>
    /// <param name="learningRate">The rate, above 0.</param>
    /// <param name="momentum">From 0 to below 1.</param>
    /// <param name="weightDecay">0 or more.</param>
    public MomentumSgd(IEnumerable<Parameter> parameters, double learningRate = 0.1, double momentum = 0.9, double weightDecay = 0)
        : this([new SGD.ParamGroup(parameters, learningRate, momentum, weight_decay: weightDecay)], learningRate, momentum)
    {
    }

    /// <summary>For groups of parameters.</summary>
    /// <param name="groups">Each with its rate, momentum and weight decay.</param>
    /// <param name="learningRate">The rate of groups without one.</param>
    /// <param name="momentum">The momentum of groups without one.</param>
    /// <exception cref="ArgumentException">A group asks for what this step has not: dampening, Nesterov's momentum, maximizing.</exception>
    public MomentumSgd(IEnumerable<SGD.ParamGroup> groups, double learningRate = 0.1, double momentum = 0.9)
        : base(groups, learningRate, momentum, 0, 0, false, false)
    {
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The group asks for what this step has not.</exception>
    public override void add_param_group(TorchSharp.Modules.ParamGroup param_group)
    {
        base.add_param_group(param_group);
        var options = ((SGD.ParamGroup)param_group).Options;
        if (options.dampening is not (null or 0) || options.nesterov == true || options.maximize == true)
        {
            throw new ArgumentException("MomentumSgd has no dampening, no Nesterov momentum and does not maximize; take TorchSharp's SGD");
        }
    }

    /// <inheritdoc/>
    public override Tensor step(Func<Tensor>? closure = null)
    {
        var loss = closure?.Invoke();
        using var guard = no_grad();
        foreach (var group in ParamGroups.Cast<ParamGroup>())
        {
            using Scalar decay = group.Options.weight_decay!.Value, inertia = group.Options.momentum!.Value;
            using Scalar one = 1.0, down = -group.LearningRate;
            foreach (var parameter in group.Parameters)
            {
                using var scope = NewDisposeScope();
                if (parameter.grad is not { } gradient)
                {
                    continue;
                }

                if (group.Options.weight_decay != 0)
                {
                    gradient.add_(parameter, decay);
                }

                if (group.Options.momentum == 0)
                {
                    parameter.add_(gradient, down);
                    continue;
                }

                var state = (State)_state[parameter.Handle];
                if (state.momentum_buffer is { } velocity)
                {
                    velocity.mul_(inertia).add_(gradient, one);
                }
                else
                {
                    state.momentum_buffer = velocity = gradient.clone().DetachFromDisposeScope();
                }

                parameter.add_(velocity, down);
            }
        }

        return loss!;
    }
}
