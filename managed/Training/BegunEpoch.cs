using ResNetNodes.Data;

namespace ResNetNodes.Training;

/// <summary>How far an epoch has come, and the sums over its steps from which its metrics are made.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="BatchCount">Batches of the epoch.</param>
/// <param name="Batches">Batches done, those included of which no image could be decoded.</param>
/// <param name="Steps">Training steps done.</param>
/// <param name="Images">Images of these steps.</param>
/// <param name="Loss">Their losses.</param>
/// <param name="Correct">Correct predictions of them.</param>
/// <param name="StateError">The largest of the steps (<see cref="EpochMetrics.StateError"/>).</param>
/// <param name="ReconstructionError">The largest of the steps.</param>
/// <param name="KeptStates">Of all steps.</param>
/// <param name="ReplayedStates">Of all steps.</param>
/// <param name="Times">Where the time of the steps went, over all starts of the run.</param>
/// <param name="PeakBytes">The largest of the starts.</param>
internal sealed record BegunEpoch(
    int Epoch,
    int BatchCount,
    int Batches,
    int Steps,
    long Images,
    double Loss,
    long Correct,
    double? StateError,
    double? ReconstructionError,
    long KeptStates,
    long ReplayedStates,
    EpochTimes Times,
    long PeakBytes)
{
    /// <summary>An epoch before its first step.</summary>
    public static BegunEpoch First(int epoch, int batchCount) => new(epoch, batchCount, 0, 0, 0, 0, 0, null, null, 0, 0, default, 0);

    /// <summary>The epoch after one more step.</summary>
    /// <param name="batch">Its images.</param>
    /// <param name="loss">Their mean loss.</param>
    /// <param name="correct">How many of them were predicted correctly.</param>
    /// <param name="reports">Of the residual stages.</param>
    /// <param name="times">Where the time went.</param>
    public BegunEpoch After(Batch batch, double loss, long correct, IReadOnlyList<StageReport> reports, EpochTimes times) => this with
    {
        Batches = batch.Index + 1,
        Steps = Steps + 1,
        Images = Images + batch.Count,
        Loss = Loss + (loss * batch.Count),
        Correct = Correct + correct,
        StateError = reports.Aggregate(StateError, (largest, report) => Largest(largest, report.Error)),
        ReconstructionError = reports.Aggregate(ReconstructionError, (largest, report) => Largest(largest, report.ReconstructionError)),
        KeptStates = KeptStates + reports.Sum(report => (long)report.Count(StateSource.Kept)),
        ReplayedStates = ReplayedStates + reports.Sum(report => (long)report.Count(StateSource.Replayed)),
        Times = Times + times with { Stages = reports.Sum(report => report.ForwardSeconds + report.BackwardSeconds) },
    };

    /// <summary>The metrics of the epoch, once its last step is done.</summary>
    /// <param name="test">Loss and accuracy on the test images.</param>
    /// <param name="rate">The learning rate.</param>
    public EpochMetrics Metrics((double Loss, double Accuracy) test, double rate) => new(
        Epoch, Loss / Images, (double)Correct / Images, test.Loss, test.Accuracy, rate, Times.Seconds, Times.Waited / Times.Seconds,
        Times.Steps / Times.Seconds, Times.Stages / Times.Seconds, Times.Optimizer / Times.Seconds, PeakBytes, StateError,
        (double)KeptStates / Steps, (double)ReplayedStates / Steps, ReconstructionError);

    private static double? Largest(double? one, double? other) => one > other ? one : other ?? one;
}

/// <summary>Where the time of training steps went, in seconds.</summary>
/// <param name="Seconds">All of it.</param>
/// <param name="Waited">For batches.</param>
/// <param name="Steps">In training steps.</param>
/// <param name="Stages">In the native engine of the residual stages.</param>
/// <param name="Optimizer">In the optimizer.</param>
internal readonly record struct EpochTimes(double Seconds, double Waited, double Steps, double Stages, double Optimizer)
{
    public static EpochTimes operator +(EpochTimes one, EpochTimes other) => new(
        one.Seconds + other.Seconds, one.Waited + other.Waited, one.Steps + other.Steps, one.Stages + other.Stages,
        one.Optimizer + other.Optimizer);
}
