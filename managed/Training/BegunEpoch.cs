using System.Globalization;

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
    /// <param name="index">The number of its batch.</param>
    /// <param name="found">What it has found.</param>
    /// <param name="reports">Of the residual stages.</param>
    /// <param name="times">Where the time went.</param>
    public BegunEpoch After(int index, StepFigures found, IReadOnlyList<StageReport> reports, EpochTimes times) => this with
    {
        Batches = index + 1,
        Steps = Steps + 1,
        Images = Images + found.Images,
        Loss = Loss + (found.Loss * found.Images),
        Correct = Correct + found.Correct,
        StateError = StepFigures.Largest(StateError, found.StateError),
        ReconstructionError = StepFigures.Largest(ReconstructionError, found.ReconstructionError),
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

    /// <summary>The epoch with the peak of this start.</summary>
    public BegunEpoch WithPeak(long bytes) => this with { PeakBytes = Math.Max(PeakBytes, bytes) };

    /// <summary>Checks that it is an epoch of so many batches.</summary>
    /// <param name="path">Where it was saved.</param>
    /// <param name="batches">How many the loader has.</param>
    /// <exception cref="ResNetNodesException">It has others.</exception>
    public void RequireBatches(string path, int batches)
    {
        if (batches != BatchCount)
        {
            throw new ResNetNodesException(
                $"{path}: its epoch {Epoch} was begun with {BatchCount} batches, here are {batches}; take the images that it began with, "
                + "or start a new run");
        }
    }

    /// <summary>Checks what was read from a file.</summary>
    /// <param name="finished">Finished epochs.</param>
    /// <exception cref="FormatException">It can't be; a phrase.</exception>
    public void Check(int finished)
    {
        const double most = double.MaxValue, endless = double.PositiveInfinity;
        (string Name, double Value, double Least, double Most)[] all =
        [
            (nameof(Epoch), Epoch, finished + 1, finished + 1),
            (nameof(Batches), Batches, 1, BatchCount),
            (nameof(Steps), Steps, 1, Batches),
            (nameof(Images), Images, Steps, most),
            // A loss may be infinite; an error no number either.
            (nameof(Loss), Loss, -endless, endless),
            (nameof(Correct), Correct, 0, Images),
            (nameof(StateError), Error(StateError), 0, endless),
            (nameof(ReconstructionError), Error(ReconstructionError), 0, endless),
            (nameof(KeptStates), KeptStates, 0, most),
            (nameof(ReplayedStates), ReplayedStates, 0, most),
            (nameof(Times.Seconds), Times.Seconds, 0, most),
            (nameof(Times.Waited), Times.Waited, 0, most),
            (nameof(Times.Steps), Times.Steps, 0, most),
            (nameof(Times.Stages), Times.Stages, 0, most),
            (nameof(Times.Optimizer), Times.Optimizer, 0, most),
            (nameof(PeakBytes), PeakBytes, 0, most),
        ];
        foreach (var (name, value, least, greatest) in all)
        {
            if (!(value >= least && value <= greatest))
            {
                throw new FormatException(string.Create(CultureInfo.InvariantCulture, $"{name} of its begun epoch can't be {value}"));
            }
        }

        static double Error(double? error) => error is null || double.IsNaN(error.Value) ? 0 : error.Value;
    }
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
