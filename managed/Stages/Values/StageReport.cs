namespace ResNetNodes;

/// <summary>What a stage's backward pass reports about itself.</summary>
public sealed record StageReport
{
    internal StageReport(Interop.StageReport report)
    {
        Residuals = [.. report.Residuals];
        FailedSteps = [.. report.FailedSteps];
        Evaluations = report.Evaluations;
        ReconstructionError = report.ReconstructionError >= 0 ? report.ReconstructionError : null;
        ForwardSeconds = report.ForwardSeconds;
        BackwardSeconds = report.BackwardSeconds;
    }

    /// <summary>
    /// For each step ‖x̃ − (y − Φ(x̃))‖ / ‖Φ(x̃)‖: how well the state at which the gradient was taken solves its equation. Empty for
    /// methods that do not correct (backprop, checkpoint, inverse).
    /// </summary>
    public IReadOnlyList<double> Residuals { get; }

    /// <summary>Adaptive: the steps whose residual stayed above the tolerance.</summary>
    public IReadOnlyList<long> FailedSteps { get; }

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
