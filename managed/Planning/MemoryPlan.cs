namespace ResNetNodes.Planning;

/// <summary>How one part of a network goes through a training step, and what it takes.</summary>
/// <param name="Name">The part.</param>
/// <param name="Method">What it stores, keeps, replays or reconstructs: "checkpoint:2 + 5 stored", "recomputed".</param>
/// <param name="KeptBytes">What its forward pass leaves for its backward pass, its output included.</param>
/// <param name="WorkingBytes">What its backward pass works with at most, beyond what all parts up to it have left.</param>
/// <param name="Evaluations">Of its functions in both passes; a vector-Jacobian product counts as two.</param>
/// <param name="Seconds">Of both passes, by the times that have been measured; null before a step has run.</param>
public sealed record PartPlan(string Name, string Method, long KeptBytes, long WorkingBytes, double Evaluations, double? Seconds);

/// <summary>What a <see cref="MemoryPlanner"/> has decided.</summary>
/// <param name="Budget">Bytes that a training step may take beyond rest.</param>
/// <param name="Bytes">What the plan takes at most, foreseen from shapes.</param>
/// <param name="LeastBytes">The smallest budget that can be kept.</param>
/// <param name="MostBytes">The smallest budget under which nothing is evaluated again: more saves no time.</param>
/// <param name="Parts">The parts, in the order in which they run.</param>
public sealed record MemoryPlan(long Budget, long Bytes, long LeastBytes, long MostBytes, IReadOnlyList<PartPlan> Parts)
{
    /// <summary>Seconds of all parts in a training step; null before one has run.</summary>
    public double? Seconds => Parts.Sum(part => part.Seconds ?? double.NaN) is var sum && double.IsNaN(sum) ? null : sum;
}
