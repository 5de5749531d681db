namespace ResNetNodes.Experiments.Scaling;

/// <summary>A sum of a backward pass.</summary>
/// <param name="Ready">Seconds of the pass after which it can start.</param>
/// <param name="Bytes">Of its tensor.</param>
internal readonly record struct ReadySum(double Ready, double Bytes);

/// <summary>One training step of a rank, and what it sums up.</summary>
/// <param name="Rest">Seconds of the forward pass, the loss and the optimizer, during which no gradients travel.</param>
/// <param name="Backward">Seconds of the backward pass.</param>
/// <param name="Buckets">The gradients, in the order in which they start.</param>
/// <param name="Small">Bytes of the sums after the backward pass: figures of the step, running statistics.</param>
internal sealed record StepModel(double Rest, double Backward, IReadOnlyList<ReadySum> Buckets, IReadOnlyList<double> Small)
{
    /// <summary>Without any sum.</summary>
    public double ComputeSeconds => Rest + Backward;

    /// <summary>
    /// The step over a link, by simulation: one sum is under way at a time, from when its gradients are ready and the sum before it is
    /// done. Meanwhile the backward pass goes on, but for what the sum takes of the processor. Counts of images travel during the forward
    /// pass, and cost nothing here.
    /// </summary>
    /// <param name="link">Between the ranks.</param>
    /// <param name="ranks">How many there are.</param>
    /// <param name="overlaps">Whether buckets start during the backward pass, or after it.</param>
    public double Seconds(Link link, int ranks, bool overlaps = true)
    {
        var (clock, passed) = (0.0, 0.0);
        foreach (var (ready, bytes) in Buckets.Select(bucket => overlaps ? bucket : bucket with { Ready = Backward })
            .Concat(Small.Select(small => new ReadySum(Backward, small))))
        {
            clock += Math.Max(0, ready - passed);
            passed = Math.Max(ready, passed);
            var seconds = link.SumSeconds(ranks, bytes);
            clock += seconds;
            passed = Math.Min(Backward, passed + seconds - link.LostSeconds(ranks, bytes));
        }

        return Rest + clock + Backward - passed;
    }

    /// <summary>The same step where computing takes so many times as long.</summary>
    public StepModel Slower(double factor) => this with
    {
        Rest = Rest * factor,
        Backward = Backward * factor,
        Buckets = [.. Buckets.Select(bucket => bucket with { Ready = bucket.Ready * factor })],
    };

    /// <summary>The same step where buckets have so many times as many bytes.</summary>
    public StepModel Larger(double factor) =>
        this with { Buckets = [.. Buckets.Select(bucket => bucket with { Bytes = bucket.Bytes * factor })] };
}
