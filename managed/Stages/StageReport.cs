namespace ResNetNodes;

/// <summary>What a stage's backward pass found out about itself.</summary>
/// <param name="Residuals">
/// For each step ‖x̃ − (y − Φ(x̃))‖ / ‖Φ(x̃)‖: how well the state at which the gradient was taken solves its equation. Empty for
/// methods that do not correct (backprop, checkpoint, inverse).
/// </param>
/// <param name="FailedSteps">Adaptive: the steps whose residual stayed above the tolerance.</param>
/// <param name="Evaluations">Evaluations of residual functions in the backward pass, those with a tape included.</param>
/// <param name="ReconstructionError">‖x̃_0 − x_0‖ / ‖x_0‖, where <see cref="StageOptions.ReportReconstructionError"/> asks for it.</param>
/// <param name="ForwardSeconds">
/// Wall time of the native engine in the forward pass, callbacks included. What a pass takes beyond it is the managed layer and the
/// binding. On an accelerator: until all work is queued.
/// </param>
/// <param name="BackwardSeconds">The same of the backward pass.</param>
public sealed record StageReport(
    IReadOnlyList<double> Residuals,
    IReadOnlyList<long> FailedSteps,
    long Evaluations,
    double? ReconstructionError,
    double ForwardSeconds,
    double BackwardSeconds)
{
    internal static StageReport FromNative(Interop.StageReport report) => new(
        [.. report.Residuals],
        [.. report.FailedSteps],
        report.Evaluations,
        report.ReconstructionError >= 0 ? report.ReconstructionError : null,
        report.ForwardSeconds,
        report.BackwardSeconds);
}
