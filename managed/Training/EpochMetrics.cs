using ResNetNodes.Measuring;

namespace ResNetNodes.Training;

/// <summary>The results of an epoch. Accuracies are fractions; losses are means over the images.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="TrainLoss">Mean cross-entropy of the training steps.</param>
/// <param name="TrainAccuracy">Of the training steps, augmented images.</param>
/// <param name="TestLoss">Mean cross-entropy of the test images.</param>
/// <param name="TestAccuracy">Of the test images.</param>
/// <param name="LearningRate">The epoch's.</param>
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
    double? ReconstructionError);

/// <summary>The progress of a run.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Step">Steps done in the epoch.</param>
/// <param name="Steps">Steps of the epoch.</param>
/// <param name="Loss">Of the last step.</param>
public sealed record TrainingProgress(int Epoch, int Step, int Steps, double Loss);
