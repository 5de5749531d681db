using ResNetNodes.Stages.Callbacks;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Distributed;

/// <summary>
/// The gradients of a network's parameters in a few flat tensors, its buckets, each summed up over the ranks at a time. Parameters'
/// gradients are views of them: after the first step nothing is copied.
/// </summary>
internal sealed class GradientBuckets : IDisposable
{
    // A smaller bucket would wait longer for the network than for its bytes; a larger one would let the network wait for all of it.
    private const long BucketBytes = 4 << 20;

    private readonly List<Bucket> buckets = [];

    /// <param name="parameters">Those that are trained; of one memory once.</param>
    public GradientBuckets(IReadOnlyList<Parameter> parameters)
    {
        Count = parameters.Count;
        var index = 0;
        // From the back of the network, whose gradients are there first.
        foreach (var group in parameters.Select(parameter => new Slot(parameter, index++)).Reverse().GroupBy(s => s.Parameter.dtype))
        {
            List<Slot> slots = [];
            var bytes = 0L;
            foreach (var slot in group)
            {
                slots.Add(slot);
                bytes += slot.Parameter.NumberOfElements * slot.Parameter.element_size();
                if (bytes >= BucketBytes)
                {
                    buckets.Add(new(slots));
                    (slots, bytes) = ([], 0);
                }
            }

            if (slots.Count > 0)
            {
                buckets.Add(new(slots));
            }
        }
    }

    /// <summary>Parameters.</summary>
    public int Count { get; }

    /// <summary>Which parameters have a gradient on this rank: 1 or 0 each, in the order of the parameters.</summary>
    public double[] Present()
    {
        var present = new double[Count];
        foreach (var slot in buckets.SelectMany(bucket => bucket.Slots))
        {
            using var gradient = slot.Parameter.grad;
            present[slot.Index] = gradient is null ? 0 : 1;
        }

        return present;
    }

    /// <summary>Starts to sum all gradients up.</summary>
    /// <returns>What to wait for, in order.</returns>
    public IReadOnlyList<Communication> Start(Communicator ranks)
    {
        using var guard = no_grad();
        return [.. buckets.Select(bucket => ranks.StartSum(bucket.Filled()))];
    }

    /// <summary>Once all are summed up: gives them to the parameters.</summary>
    /// <param name="present">On how many ranks a parameter has one; on none: it keeps none.</param>
    public void Give(ReadOnlySpan<double> present)
    {
        using var guard = no_grad();
        foreach (var bucket in buckets)
        {
            bucket.Give(present);
        }
    }

    public void Dispose() => buckets.ForEach(bucket => bucket.Dispose());

    private sealed record Slot(Parameter Parameter, int Index);

    private sealed class Bucket(IReadOnlyList<Slot> slots) : IDisposable
    {
        private Tensor? flat;
        private Tensor[] views = [];

        public IReadOnlyList<Slot> Slots { get; } = [.. slots];

        public Tensor Filled()
        {
            var all = flat ??= New();
            for (var i = 0; i < Slots.Count; i++)
            {
                using var gradient = Slots[i].Parameter.grad;
                if (gradient is null)
                {
                    views[i].zero_();
                }
                else if (TensorIdentity.Of(gradient) != TensorIdentity.Of(views[i]))
                {
                    views[i].copy_(gradient);
                }
            }

            return all;
        }

        public void Give(ReadOnlySpan<double> present)
        {
            for (var i = 0; i < Slots.Count; i++)
            {
                using var gradient = Slots[i].Parameter.grad;
                if (present[Slots[i].Index] > 0 && (gradient is null || TensorIdentity.Of(gradient) != TensorIdentity.Of(views[i])))
                {
                    Slots[i].Parameter.grad = views[i];
                }
            }
        }

        public void Dispose()
        {
            flat?.Dispose();
            Array.ForEach(views, view => view.Dispose());
        }

        private Tensor New()
        {
            var first = Slots[0].Parameter;
            var all = empty(Slots.Sum(slot => slot.Parameter.NumberOfElements), first.dtype, first.device).DetachFromDisposeScope();
            var start = 0L;
            List<Tensor> parts = [];
            foreach (var slot in Slots)
            {
                var count = slot.Parameter.NumberOfElements;
                using var part = all.narrow(0, start, count);
                parts.Add(part.view(slot.Parameter.shape).DetachFromDisposeScope());
                start += count;
            }

            views = [.. parts];
            return all;
        }
    }
}
