namespace ResNetNodes;

/// <summary>What a stage's backward pass reports about one step.</summary>
public sealed record StepReport
{
    internal StepReport(Interop.StepReport step)
    {
        Error = step.Error >= 0 ? step.Error : null;
        Evaluations = step.Evaluations;
        Source = (StateSource)(int)step.Source;
    }

    /// <summary>
    /// Estimate of ‖x̃ − x_n‖ / ‖x_n‖, where x̃ is the state at which the step's gradient was taken (docs/reconstructions.md):
    /// 0 for a state that was kept or replayed, null where the method does not measure it (inverse).
    /// </summary>
    public double? Error { get; }

    /// <summary>Evaluations of residual functions in the backward pass for this step, including those of a replay.</summary>
    public long Evaluations { get; }

    /// <summary>Where that state came from.</summary>
    public StateSource Source { get; }
}
