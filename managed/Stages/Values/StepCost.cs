namespace ResNetNodes;

/// <summary>What a training step through a stage takes, foreseen from shapes and from what it has learned.</summary>
internal sealed record StepCost
{
    public StepCost(Interop.PassCost cost)
    {
        OutputSizes = [.. cost.OutputSizes];
        (KeptBytes, ForwardBytes, BackwardBytes) = (cost.KeptBytes, cost.ForwardBytes, cost.BackwardBytes);
        (Evaluations, BackwardEvaluations, Operations) = (cost.Evaluations, cost.BackwardEvaluations, cost.Operations);
    }

    /// <summary>Of its output.</summary>
    public IReadOnlyList<long> OutputSizes { get; }

    /// <summary>What the forward pass leaves for the backward pass, the output included.</summary>
    public long KeptBytes { get; }

    /// <summary>What the forward pass works with at most.</summary>
    public long ForwardBytes { get; }

    /// <summary>What the backward pass works with at most beyond what is kept, the gradient of the output included.</summary>
    public long BackwardBytes { get; }

    /// <summary>Of residual functions, in both passes; a vector-Jacobian product counts as two.</summary>
    public double Evaluations { get; }

    /// <summary>Those among them that <see cref="StageReport.Evaluations"/> counts.</summary>
    public double BackwardEvaluations { get; }

    /// <summary>Of one of them: multiply-adds, and a few for each value.</summary>
    public double Operations { get; }
}
