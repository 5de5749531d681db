using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Distributed;

/// <summary>A parameter whose gradient travels.</summary>
/// <param name="name">Its name in the network.</param>
/// <param name="parameter">The parameter.</param>
/// <param name="index">Its number among all that are trained.</param>
internal sealed class GradientSlot(string name, Parameter parameter, int index)
{
    public string Name { get; } = name;

    public Parameter Parameter { get; } = parameter;

    public int Index { get; } = index;

    /// <summary>Where the gradient travels.</summary>
    public GradientBucket? Bucket { get; set; }

    /// <summary>Ways back through stages that are to add to the gradient.</summary>
    public int Pending { get; set; }

    /// <summary>Whether they all have, in this step.</summary>
    public bool IsComplete { get; set; }
}

/// <summary>Some gradients of one type in a flat tensor, which is summed up over the ranks.</summary>
internal sealed class GradientBucket : IDisposable
{
    private readonly IReadOnlyList<GradientSlot> slots;
    private Tensor? flat;
    private Tensor[] views = [];
    private Communication? sum;
    private long version;
    private int complete;
    private bool liesElsewhere;

    /// <param name="slots">The gradients' parameters.</param>
    public GradientBucket(IReadOnlyList<GradientSlot> slots)
    {
        this.slots = slots;
        foreach (var slot in slots)
        {
            slot.Bucket = this;
        }
    }

    /// <summary>Whether its sum has been started in this step, and is not given yet.</summary>
    public bool IsUnderWay => sum is not null;

    /// <summary>One of its gradients is complete, or is to be added to again.</summary>
    public void Mark(GradientSlot slot, bool isComplete)
    {
        complete += (isComplete ? 1 : 0) - (slot.IsComplete ? 1 : 0);
        slot.IsComplete = isComplete;
    }

    /// <summary>Whether all are, and lie in it; in the first step they lie elsewhere, and wait for the end.</summary>
    public bool IsFinal()
    {
        if (complete < slots.Count || liesElsewhere)
        {
            return false;
        }

        for (var i = 0; i < slots.Count && !liesElsewhere; i++)
        {
            using var gradient = slots[i].Parameter.grad;
            liesElsewhere = gradient is null || !IsView(gradient, i);
        }

        return !liesElsewhere;
    }

    /// <summary>Starts to sum them up; those that lie elsewhere are copied.</summary>
    /// <returns>Bytes of the sum.</returns>
    public long Start(Communicator ranks)
    {
        var all = flat ??= New();
        for (var i = 0; i < slots.Count; i++)
        {
            using var gradient = slots[i].Parameter.grad;
            if (gradient is null)
            {
                views[i].zero_();
            }
            else if (!IsView(gradient, i))
            {
                views[i].copy_(gradient);
            }
        }

        version = Functions.TensorVersion(all);
        sum = ranks.StartSum(all);
        return all.NumberOfElements * all.element_size();
    }

    /// <summary>Waits for the sum.</summary>
    public void Wait() => sum?.Wait();

    /// <summary>Checks that nothing else has written since the start.</summary>
    /// <exception cref="ResNetNodesException">Something has.</exception>
    public void Check()
    {
        if (Functions.TensorVersion(flat!) != version)
        {
            throw new ResNetNodesException(
                $"a gradient has changed on its way to the other ranks, one of {slots[^1].Name} to {slots[0].Name}: the loss uses a "
                + "parameter outside of its stage too; set DataParallel.Overlap to false");
        }
    }

    /// <summary>Gives the sums to the parameters.</summary>
    /// <param name="present">On how many ranks a parameter has a gradient; on none: it keeps none.</param>
    public void Give(ReadOnlySpan<double> present)
    {
        for (var i = 0; i < slots.Count; i++)
        {
            using var gradient = slots[i].Parameter.grad;
            if (present[slots[i].Index] > 0 && (gradient is null || !IsView(gradient, i)))
            {
                slots[i].Parameter.grad = views[i];
            }
        }
    }

    /// <summary>Another step begins, or the sum has been given.</summary>
    public void Restart()
    {
        (sum, liesElsewhere) = (null, false);
        foreach (var slot in slots)
        {
            Mark(slot, false);
        }
    }

    public void Dispose()
    {
        flat?.Dispose();
        Array.ForEach(views, view => view.Dispose());
    }

    private bool IsView(Tensor gradient, int slot) =>
        slot < views.Length && TensorIdentity.Of(gradient) == TensorIdentity.Of(views[slot]);

    private Tensor New()
    {
        var first = slots[0].Parameter;
        var all = empty(slots.Sum(slot => slot.Parameter.NumberOfElements), first.dtype, first.device).DetachFromDisposeScope();
        var start = 0L;
        List<Tensor> parts = [];
        foreach (var slot in slots)
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
