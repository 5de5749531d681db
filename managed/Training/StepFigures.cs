using ResNetNodes.Distributed;

namespace ResNetNodes.Training;

/// <summary>What a training step has found, on one rank or on all of them.</summary>
/// <param name="Loss">The mean over the images.</param>
/// <param name="Images">How many there are.</param>
/// <param name="Correct">Correct predictions.</param>
/// <param name="StateError">The largest of the stages (<see cref="EpochMetrics.StateError"/>); null where none is measured.</param>
/// <param name="ReconstructionError">The largest of the stages; null where none is measured.</param>
/// <param name="IsToStop">Whether the run has been asked to end.</param>
/// <param name="IsToSave">Whether it is time to save it.</param>
internal readonly record struct StepFigures(
    double Loss, long Images, long Correct, double? StateError, double? ReconstructionError, bool IsToStop, bool IsToSave)
{
    /// <summary>The numbers that one rank's make.</summary>
    public const int Count = 7;

    // Of no measured error.
    private const double None = -1;

    /// <summary>As numbers.</summary>
    public double[] Numbers =>
        [Loss, Images, Correct, StateError ?? None, ReconstructionError ?? None, IsToStop ? 1 : 0, IsToSave ? 1 : 0];

    /// <summary>The same with the errors of a step's passes.</summary>
    public StepFigures With(IReadOnlyList<StageReport> reports) => this with
    {
        StateError = reports.Aggregate(StateError, (largest, report) => Largest(largest, report.Error)),
        ReconstructionError = reports.Aggregate(ReconstructionError, (largest, report) => Largest(largest, report.ReconstructionError)),
    };

    /// <summary>Those of all ranks together: it is rank 0's clock that says when to save.</summary>
    /// <param name="ranks">The numbers of each.</param>
    public static StepFigures Of(IReadOnlyList<double[]> ranks)
    {
        var images = ranks.Sum(of => of[1]);
        return new(
            ranks.Sum(of => of[0] * of[1]) / images, (long)images, (long)ranks.Sum(of => of[2]), Greatest(3), Greatest(4),
            ranks.Any(of => of[5] != 0), ranks[0][6] != 0);

        double? Greatest(int figure) =>
            ranks.Select(of => of[figure] == None ? (double?)null : of[figure]).Aggregate((double?)null, Largest);
    }

    /// <summary>The larger of two errors, either of which may not be known.</summary>
    public static double? Largest(double? one, double? other) => one > other ? one : other ?? one;
}
