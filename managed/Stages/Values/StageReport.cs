namespace ResNetNodes;

/// <summary>What a stage's backward pass reports about itself.</summary>
public sealed record StageReport
{
    internal StageReport(Interop.StageReport report)
    {
        Steps = [.. report.Steps.Select(step => new StepReport(step))];
        Evaluations = report.Evaluations;
        ReconstructionError = report.ReconstructionError >= 0 ? report.ReconstructionError : null;
        ForwardSeconds = report.ForwardSeconds;
        BackwardSeconds = report.BackwardSeconds;
    }

    /// <summary>Its steps, in the order of the forward pass.</summary>
    public IReadOnlyList<StepReport> Steps { get; }

    /// <summary>The largest <see cref="StepReport.Error"/> of a step; null where the method does not measure it (inverse).</summary>
    public double? Error => Steps.Max(step => step.Error);

    /// <summary>Steps whose state came from there.</summary>
    internal int Count(StateSource source) => Steps.Count(step => step.Source == source);

    /// <summary>Evaluations of residual functions in the backward pass, including those that keep a tape.</summary>
    public long Evaluations { get; }

    /// <summary>‖x̃_0 − x_0‖ / ‖x_0‖, where <see cref="StageOptions.ReportReconstructionError"/> asks for it.</summary>
    public double? ReconstructionError { get; }

    /// <summary>
    /// Wall time of the native engine in the forward pass, callbacks included. What a pass takes beyond it is the managed layer and the
    /// binding. On an accelerator: until all work is queued.
    /// </summary>
    internal double ForwardSeconds { get; }

    /// <summary>Wall time of the native engine in the backward pass, likewise.</summary>
    internal double BackwardSeconds { get; }
}
