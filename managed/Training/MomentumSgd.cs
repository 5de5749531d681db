using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// TorchSharp's SGD with momentum and weight decay, with a step of its own: g ← g + decay·p; v ← momentum·v + g; p ← p − rate·v.
/// The library's makes three unnamed Scalars a parameter, which the garbage collector may free while LibTorch reads them (the step
/// then fails with "Expected false to be true", or moves by a wrong number), and a copy of every gradient where weights decay,
/// memory that grows with depth.
/// </summary>
internal sealed class MomentumSgd(IEnumerable<SGD.ParamGroup> groups, double rate, double momentum)
    : SGD(groups, rate, momentum, 0, 0, false, false)
{
    /// <inheritdoc/>
    public override Tensor step(Func<Tensor>? closure = null)
    {
        using var guard = no_grad();
        foreach (var group in ParamGroups.Cast<ParamGroup>())
        {
            using Scalar decay = group.Options.weight_decay!.Value, inertia = group.Options.momentum!.Value;
            using Scalar one = 1.0, down = -group.LearningRate;
            foreach (var parameter in group.Parameters)
            {
                if (parameter.grad is not { } gradient)
                {
                    continue;
                }

                if (group.Options.weight_decay != 0)
                {
                    gradient.add_(parameter, decay);
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

        return null!;
    }
}
