namespace ResNetNodes.Training;

/// <summary>
/// Looks on at a training run; each method does nothing unless it is written. What it throws ends the run, which stands where it stood:
/// steps and epochs that are told are done.
/// </summary>
public interface ITrainingObserver
{
    /// <summary>A batch has been trained with.</summary>
    /// <param name="progress">Where the run is.</param>
    void StepFinished(TrainingProgress progress)
    {
    }

    /// <summary>The network has been evaluated, after an epoch.</summary>
    /// <param name="evaluation">Once for the test images, and once for the validation images where there are some.</param>
    void Evaluated(EvaluationMetrics evaluation)
    {
    }

    /// <summary>An epoch is done and stands in the history: the trainer may be saved.</summary>
    /// <param name="metrics">Its results.</param>
    void EpochFinished(EpochMetrics metrics)
    {
    }

    /// <summary>The trainer should be saved (<see cref="Trainer.SaveDue"/>).</summary>
    void SaveDue()
    {
    }
}
