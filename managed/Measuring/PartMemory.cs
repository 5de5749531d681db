using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Measuring;

/// <summary>Where the memory of a training step is: what one part of a network takes of it.</summary>
/// <param name="Name">The part.</param>
/// <param name="KeptBytes">What its forward pass leaves for its backward pass, its output included, as long as that is needed.</param>
/// <param name="ForwardBytes">What its forward pass works with at most, beyond what is resident before it.</param>
/// <param name="BackwardBytes">
/// What its backward pass works with at most, beyond what all parts up to it have left: the gradient of its output included.
/// </param>
public sealed record PartMemory(string Name, long KeptBytes, long ForwardBytes, long BackwardBytes)
{
    /// <summary>
    /// Measures parts that run one after the other, each on its own: the forward passes in turn, then the backward passes from the last one
    /// to the first. Figures are the process's (<see cref="MemoryProbe"/>); gradients and optimizer state should be in place, by a step
    /// or two before, and what those steps have left should be gone, by a first measurement, which counts it as given back by a part.
    /// </summary>
    /// <param name="parts">Names and modules; each gets what the one before gives.</param>
    /// <param name="input">What the first one gets.</param>
    /// <param name="loss">The loss of the last one's output.</param>
    /// <returns>One row for each part.</returns>
    public static IReadOnlyList<PartMemory> Measure(
        IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> parts, Tensor input, Func<Tensor, Tensor> loss)
    {
        ArgumentNullException.ThrowIfNull(parts);
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(loss);
        var (inputs, outputs, rows) = (new List<Tensor>(), new List<Tensor>(), new List<PartMemory>());
        var given = input.alias();
        foreach (var (name, module) in parts)
        {
            inputs.Add(given);
            var (before, high, after) = During(() =>
            {
                using var scope = NewDisposeScope();
                outputs.Add(module.call(given).MoveToOuterDisposeScope());
            });
            rows.Add(new(name, after - before, high - before, 0));
            given = outputs[^1].detach().requires_grad_(outputs[^1].requires_grad);
        }

        Tensor? gradient = null;
        for (var i = parts.Count; i-- > 0;)
        {
            // What lies before frozen parts alone has no backward pass.
            if (outputs[i].requires_grad)
            {
                // The gradient of its output is there already.
                var arrived = gradient is null ? 0 : gradient.numel() * gradient.element_size();
                var (before, high, _) = During(() =>
                {
                    using var scope = NewDisposeScope();
                    var start = gradient is null ? loss(outputs[i]) : GivenGradient.For(outputs[i], gradient);
                    // As in a step, whoever needs the output holds it itself. It may be the loss.
                    if (!ReferenceEquals(start, outputs[i]))
                    {
                        outputs[i].Dispose();
                    }

                    start.backward();
                    gradient?.Dispose();
                    gradient = inputs[i].requires_grad ? inputs[i].grad?.MoveToOuterDisposeScope() : null;
                });
                rows[i] = rows[i] with { BackwardBytes = high - before + arrived };
            }

            outputs[i].Dispose();
            inputs[i].Dispose();
        }

        given.Dispose();
        gradient?.Dispose();
        return rows;
    }

    /// <summary>What a whole step takes beyond rest, from its parts: the largest sum that is resident at a time.</summary>
    /// <param name="parts">The rows of all parts, in the order in which they run.</param>
    /// <returns>Bytes, and the number of the part in whose backward pass it is reached; −1: in a forward pass.</returns>
    public static (long Bytes, int Part) Total(IReadOnlyList<PartMemory> parts)
    {
        ArgumentNullException.ThrowIfNull(parts);
        var (kept, most, part) = (0L, 0L, -1);
        for (var i = 0; i < parts.Count; i++)
        {
            (most, part) = kept + parts[i].ForwardBytes > most ? (kept + parts[i].ForwardBytes, -1) : (most, part);
            kept += parts[i].KeptBytes;
            (most, part) = kept + parts[i].BackwardBytes > most ? (kept + parts[i].BackwardBytes, i) : (most, part);
        }

        return (most, part);
    }

    private static (long Before, long High, long After) During(Action action)
    {
        var before = MemoryProbe.ResidentAtRest();
        MemoryProbe.ResetPeak();
        action();
        var high = MemoryProbe.PeakBytes;
        return (before, high, MemoryProbe.ResidentAtRest());
    }
}
