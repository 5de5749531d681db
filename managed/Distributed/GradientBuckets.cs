using System.Diagnostics;
using ResNetNodes.Stages.Callbacks;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Distributed;

/// <summary>
/// The gradients of a network's parameters in a few flat tensors, its buckets, each summed up over the ranks at a time. Parameters'
/// gradients are views of them: after the first step nothing is copied. A bucket may start while the backward pass goes on, once stages
/// have told that all of its gradients are final; buckets start in one order, which is the same on all ranks.
/// </summary>
internal sealed class GradientBuckets : IGradientListener, IDisposable
{
    // A smaller bucket would wait longer for the network than for its bytes; a larger one would let the network wait for all of it.
    private const long BucketBytes = 4 << 20;

    private readonly Communicator ranks;
    private readonly List<GradientBucket> buckets = [];
    private readonly Dictionary<IntPtr, GradientSlot> slots = [];
    private readonly List<BucketStart> starts = [];
    private long since;
    private bool isAnnounced;

    /// <param name="parameters">Those that are trained, by name; of one memory once.</param>
    /// <param name="told">Whether stages tell of the gradient of a parameter.</param>
    /// <param name="ranks">The ranks.</param>
    public GradientBuckets(
        IReadOnlyList<(string Name, Parameter Parameter)> parameters, Func<Parameter, bool> told, Communicator ranks)
    {
        (this.ranks, Count) = (ranks, parameters.Count);
        var all = parameters.Select((p, i) => new GradientSlot(p.Name, p.Parameter, i)).ToList();
        all.ForEach(slot => slots.Add(TensorIdentity.Of(slot.Parameter), slot));
        // From the back of the network, whose gradients are there first; what nobody tells of waits for the end of the pass.
        foreach (var group in all.AsEnumerable().Reverse().GroupBy(s => (Waits: !told(s.Parameter), s.Parameter.dtype))
            .OrderBy(group => group.Key.Waits))
        {
            List<GradientSlot> some = [];
            var bytes = 0L;
            foreach (var slot in group)
            {
                some.Add(slot);
                bytes += slot.Parameter.NumberOfElements * slot.Parameter.element_size();
                if (bytes >= BucketBytes)
                {
                    buckets.Add(new(some));
                    (some, bytes) = ([], 0);
                }
            }

            if (some.Count > 0)
            {
                buckets.Add(new(some));
            }
        }
    }

    /// <summary>Parameters.</summary>
    public int Count { get; }

    /// <summary>Whether buckets start before the backward pass is over.</summary>
    public bool IsEarly { get; private set; }

    /// <summary>The buckets of the last step, in the order in which they have started.</summary>
    public IReadOnlyList<BucketStart> Starts => [.. starts];

    /// <summary>Which parameters have a gradient on this rank: 1 or 0 each, in the order of the parameters.</summary>
    public double[] Present()
    {
        var present = new double[Count];
        foreach (var slot in slots.Values)
        {
            using var gradient = slot.Parameter.grad;
            present[slot.Index] = gradient is null ? 0 : 1;
        }

        return present;
    }

    /// <summary>The backward pass of a step begins, or its last one.</summary>
    /// <param name="early">Whether buckets start as their gradients are final.</param>
    public void ExpectBackward(bool early)
    {
        lock (slots)
        {
            Restart();
            (isAnnounced, IsEarly) = (true, early);
        }
    }

    /// <summary>Starts to sum up all gradients that have not been started yet: the backward pass is over.</summary>
    public void Start()
    {
        lock (slots)
        {
            if (!isAnnounced)
            {
                Restart();
            }

            StartWhile(_ => true);
        }
    }

    /// <summary>Waits for all sums, and gives them to the parameters.</summary>
    /// <param name="present">On how many ranks a parameter has a gradient; on none: it keeps none.</param>
    /// <exception cref="ResNetNodesException">Something has been added to a gradient after its sum was started.</exception>
    public void Finish(ReadOnlySpan<double> present)
    {
        buckets.ForEach(bucket => bucket.Wait());
        buckets.ForEach(bucket => bucket.Check());
        using var guard = no_grad();
        foreach (var bucket in buckets)
        {
            bucket.Give(present);
        }

        lock (slots)
        {
            (isAnnounced, IsEarly) = (false, false);
            buckets.ForEach(bucket => bucket.Restart());
        }
    }

    /// <inheritdoc/>
    public void Expect(IReadOnlyList<Tensor> parameters)
    {
        lock (slots)
        {
            foreach (var parameter in parameters)
            {
                if (Find(parameter) is { } slot)
                {
                    slot.Pending++;
                }
            }
        }
    }

    /// <inheritdoc/>
    public void Begin(IReadOnlyList<Tensor> parameters)
    {
        lock (slots)
        {
            foreach (var parameter in parameters)
            {
                if (Find(parameter) is not { Bucket: { } bucket } slot)
                {
                    continue;
                }

                bucket.Mark(slot, false);
                if (bucket.IsUnderWay)
                {
                    throw new ResNetNodesException(
                        $"the gradient of {slot.Name} is on its way to the other ranks, and a second backward pass adds to it; call "
                        + "ExpectBackward before the last backward pass of a step alone");
                }
            }
        }
    }

    /// <inheritdoc/>
    public void Ready(Tensor parameter)
    {
        lock (slots)
        {
            if (Find(parameter) is { } slot && --slot.Pending == 0 && IsEarly)
            {
                slot.Bucket!.Mark(slot, true);
                StartWhile(bucket => bucket.IsFinal());
            }
        }
    }

    /// <inheritdoc/>
    public void Leave(Tensor parameter)
    {
        lock (slots)
        {
            if (Find(parameter) is { } slot)
            {
                slot.Pending--;
            }
        }
    }

    public void Dispose() => buckets.ForEach(bucket => bucket.Dispose());

    // Null for one that has been replaced. All of this is locked: calls that are given up are let go of on threads of their own.
    private GradientSlot? Find(Tensor parameter) =>
        parameter.IsInvalid ? null : slots.GetValueOrDefault(TensorIdentity.Of(parameter));

    private void Restart()
    {
        // A step that was never finished has left sums.
        buckets.ForEach(bucket => bucket.Wait());
        buckets.ForEach(bucket => bucket.Restart());
        starts.Clear();
        since = Stopwatch.GetTimestamp();
    }

    // The next ones in order, as long as they may.
    private void StartWhile(Func<GradientBucket, bool> may)
    {
        using var guard = no_grad();
        while (starts.Count < buckets.Count && may(buckets[starts.Count]))
        {
            var bytes = buckets[starts.Count].Start(ranks);
            starts.Add(new(bytes, Stopwatch.GetElapsedTime(since)));
        }
    }
}
