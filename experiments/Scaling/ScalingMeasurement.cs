namespace ResNetNodes.Experiments.Scaling;

/// <summary>The steps that are timed, in rounds that take turns.</summary>
internal static class StepKinds
{
    /// <summary>Rank 0 works; the others sleep.</summary>
    public const string Alone = "alone";

    /// <summary>All ranks at once, each by itself on one image: what of a step does not shrink with its images.</summary>
    public const string OneImage = "one image";

    /// <summary>All ranks at once, each by itself: what it costs to share a machine. The slowest rank counts.</summary>
    public const string Together = "no sums";

    /// <summary>All ranks; gradients are summed up after the backward pass.</summary>
    public const string After = "sums after";

    /// <summary>All ranks; gradients are summed up during the backward pass.</summary>
    public const string Overlapped = "sums during";

    public static IReadOnlyList<string> All { get; } = [Alone, OneImage, Together, After, Overlapped];
}

/// <summary>The times of some steps of one kind.</summary>
/// <param name="Kind">One of <see cref="StepKinds"/>.</param>
/// <param name="Rounds">Seconds of each step, round by round.</param>
internal sealed record StepTimes(string Kind, IReadOnlyList<IReadOnlyList<double>> Rounds);

/// <summary>The times of sums of one size.</summary>
internal sealed record SumTimes(long Bytes, IReadOnlyList<double> Seconds);

/// <summary>The steps of a run of several ranks, as rank 0 has seen them.</summary>
/// <param name="Times">Of each kind.</param>
/// <param name="BackwardSeconds">The median of the backward pass, which no sum disturbs.</param>
/// <param name="Buckets">When each was started, where sums start during the backward pass: medians.</param>
/// <param name="StageShare">Of a step's time, what its residual stages take.</param>
internal sealed record MeasuredSteps(
    IReadOnlyList<StepTimes> Times, double BackwardSeconds, IReadOnlyList<ReadySum> Buckets, double StageShare);

/// <summary>Sums alone.</summary>
/// <param name="Times">Of each size.</param>
/// <param name="AddedBytesPerSecond">That a rank adds up while the others do so too.</param>
/// <param name="ProcessorSecondsPerByte">Of a core, for each byte that a rank sends.</param>
internal sealed record MeasuredSums(IReadOnlyList<SumTimes> Times, double AddedBytesPerSecond, double ProcessorSecondsPerByte);

/// <summary>What one run of several ranks has measured.</summary>
/// <param name="Ranks">How many there are.</param>
/// <param name="Threads">Of each.</param>
/// <param name="IsCrowded">Whether its threads take all cores of a rank, so that a sum takes some of their time.</param>
/// <param name="Images">Of each rank.</param>
/// <param name="Steps">Training steps.</param>
/// <param name="SmallSums">Bytes of the sums of a step beside those of gradients.</param>
/// <param name="GrowingShare">Of the gradients' bytes, what grows with the depth of the stages.</param>
/// <param name="Sums">Sums alone.</param>
internal sealed record ScalingMeasurement(
    int Ranks,
    int Threads,
    bool IsCrowded,
    int Images,
    MeasuredSteps Steps,
    IReadOnlyList<double> SmallSums,
    double GrowingShare,
    MeasuredSums Sums);
