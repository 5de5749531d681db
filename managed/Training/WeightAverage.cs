using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// The exponential moving average of a network's weights and buffers: a ← d·a + (1 − d)·w after each step, with
/// d = min(decay, (1 + n)/(10 + n)) after n steps, so that a short run's average is not what it began with. Whole numbers among the
/// buffers, and parameters that are frozen, have no average: they are what they are.
/// </summary>
/// <remarks>Of weights in 16 bits it is kept in float32: their own numbers could not hold the small changes.</remarks>
internal sealed class WeightAverage : IDisposable
{
    private readonly double decay;
    private readonly List<(string Name, Tensor Weight, Tensor Average)> tensors = [];
    private bool isLent;

    /// <param name="model">The network, on its device.</param>
    /// <param name="decay">Above 0 and below 1.</param>
    public WeightAverage(nn.Module model, double decay)
    {
        this.decay = decay;
        using var guard = no_grad();
        var weights = model.named_parameters().Where(p => p.parameter.requires_grad).Select(p => (p.name, Tensor: (Tensor)p.parameter))
            .Concat(model.named_buffers().Select(b => (b.name, Tensor: b.buffer)))
            .Where(t => t.Tensor.is_floating_point()).DistinctBy(t => t.Tensor.Handle);
        foreach (var (name, weight) in weights)
        {
            var type = weight.dtype is ScalarType.BFloat16 or ScalarType.Float16 ? ScalarType.Float32 : weight.dtype;
            tensors.Add((name, weight, weight.detach().to(type, copy: true).DetachFromDisposeScope()));
        }

        Steps = zeros([], ScalarType.Int64).DetachFromDisposeScope();
    }

    /// <summary>How many steps it has seen: one int64, on the CPU.</summary>
    public Tensor Steps { get; }

    /// <summary>The averages, by the name of their weight.</summary>
    public IEnumerable<(string Name, Tensor Tensor)> Tensors => tensors.Select(t => (t.Name, t.Average));

    /// <summary>Refuses to go on while the network holds the average.</summary>
    /// <exception cref="ResNetNodesException">It does.</exception>
    public void RequireOwnWeights()
    {
        if (isLent)
        {
            throw new ResNetNodesException(
                "the trainer: the network holds the average of its weights; first dispose what UseAverage has given");
        }
    }

    /// <summary>After a step.</summary>
    public void Update()
    {
        using var guard = no_grad();
        using Scalar one = 1;
        Steps.add_(one, one);
        var steps = Steps.item<long>();
        var d = Math.Min(decay, (1.0 + steps) / (10.0 + steps));
        using Scalar kept = d, added = 1 - d;
        foreach (var (_, weight, average) in tensors)
        {
            using var scope = NewDisposeScope();
            average.mul_(kept).add_(weight, added);
        }
    }

    /// <summary>Puts the averages into the network until it is disposed; weights come back bit for bit.</summary>
    /// <exception cref="ResNetNodesException">They are there already.</exception>
    public IDisposable Use()
    {
        RequireOwnWeights();
        isLent = true;
        using var guard = no_grad();
        List<Tensor?> weights = [];
        foreach (var (_, weight, average) in tensors)
        {
            using var scope = NewDisposeScope();
            var before = weight.detach().clone();
            weight.copy_(average);
            // Of the same type they change places; one that is rounded to the weight's type stays where it is.
            if (average.dtype == weight.dtype)
            {
                average.copy_(before);
                weights.Add(null);
            }
            else
            {
                weights.Add(before.DetachFromDisposeScope());
            }
        }

        return new Lent(this, weights);
    }

    public void Dispose()
    {
        tensors.ForEach(t => t.Average.Dispose());
        Steps.Dispose();
    }

    private sealed class Lent(WeightAverage owner, List<Tensor?> weights) : IDisposable
    {
        private bool done;

        public void Dispose()
        {
            if (done)
            {
                return;
            }

            (done, owner.isLent) = (true, false);
            using var guard = no_grad();
            foreach (var ((_, weight, average), before) in owner.tensors.Zip(weights))
            {
                using var scope = NewDisposeScope();
                if (before is not null)
                {
                    weight.copy_(before);
                    before.Dispose();
                    continue;
                }

                var averaged = weight.detach().clone();
                weight.copy_(average);
                average.copy_(averaged);
            }
        }
    }
}
