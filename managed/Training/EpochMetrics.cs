using ResNetNodes.Measuring;

namespace ResNetNodes.Training;

/// <summary>The results of an epoch. Accuracies are fractions; losses are means over the images.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="TrainLoss">Mean loss of the training steps.</param>
/// <param name="TrainAccuracy">Of the training steps, augmented images.</param>
/// <param name="TestLoss">Mean loss of the test images.</param>
/// <param name="TestAccuracy">Of the test images.</param>
/// <param name="LearningRate">Of the epoch's last step.</param>
/// <param name="Seconds">Of the training steps.</param>
/// <param name="WaitedShare">Share of those seconds spent waiting for batches.</param>
/// <param name="StepShare">
/// Share spent in training steps: gradients to zero, forward pass, loss, backward pass, optimizer. The rest is waiting, metrics and
/// progress.
/// </param>
/// <param name="StageShare">Share spent in the native engine of the residual stages.</param>
/// <param name="OptimizerShare">Share spent in the optimizer: gradients to zero, and its step.</param>
/// <param name="PeakBytes">
/// The process's resident high-water mark over the epoch; on a GPU, of the memory taken there
/// (<see cref="MemoryProbe.PeakBytesOn"/>).
/// </param>
/// <param name="StateError">
/// The largest estimated error of a state at which a gradient was taken (<see cref="StepReport.Error"/>); null where none is
/// measured.
/// </param>
/// <param name="KeptStates">States that the forward pass of a training step kept, in the mean over the epoch.</param>
/// <param name="ReplayedStates">States that its backward pass replayed, in the mean over the epoch.</param>
/// <param name="ReconstructionError">The largest ‖x̃_0 − x_0‖/‖x_0‖ in the epoch; null where it was not asked for.</param>
public sealed record EpochMetrics(
    int Epoch,
    double TrainLoss,
    double TrainAccuracy,
    double TestLoss,
    double TestAccuracy,
    double LearningRate,
    double Seconds,
    double WaitedShare,
    double StepShare,
    double StageShare,
    double OptimizerShare,
    long PeakBytes,
    double? StateError,
    double KeptStates,
    double ReplayedStates,
    double? ReconstructionError)
{
    /// <summary>Mean loss of the validation images; null where there are none.</summary>
    public double? ValidationLoss { get; init; }

    /// <summary>Of the validation images; null where there are none.</summary>
    public double? ValidationAccuracy { get; init; }
}

/// <summary>The progress of a run.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Step">Batches done in the epoch.</param>
/// <param name="Steps">Batches of the epoch.</param>
/// <param name="Loss">Of the last batch.</param>
public sealed record TrainingProgress(int Epoch, int Step, int Steps, double Loss)
{
    /// <summary>The learning rate.</summary>
    public double LearningRate { get; init; }

    /// <summary>Whether the parameters have moved: otherwise the batch's gradient waits for others of its step.</summary>
    public bool HasMoved { get; init; }

    /// <summary>
    /// The norm of the last step's gradient before it was clipped; null where none is (<see cref="TrainingOptions.ClipNorm"/>), and
    /// before the first step.
    /// </summary>
    public double? GradientNorm { get; init; }
}
