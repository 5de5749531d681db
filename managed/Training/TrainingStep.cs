using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>One batch after the other: forward pass, loss, way back, and the optimizer's step where a batch completes one.</summary>
/// <param name="model">The network.</param>
/// <param name="options">How it is trained.</param>
/// <param name="type">The number type of its input.</param>
/// <param name="update">Moves its parameters.</param>
/// <param name="average">Follows them; null: none is kept.</param>
/// <param name="ranks">Those that train it.</param>
internal sealed class TrainingStep(
    nn.Module<Tensor, Tensor> model,
    TrainingOptions options,
    ScalarType type,
    ParameterUpdate update,
    WeightAverage? average,
    StepRanks ranks)
{
    private readonly List<ResidualStage> stages = [.. ParameterUpdate.StagesOf(model)];

    /// <summary>Of the epoch; null outside of one.</summary>
    public EpochClock? Clock { get; set; }

    /// <summary>Of the residual stages' last passes on this rank.</summary>
    public IReadOnlyList<StageReport> Reports => [.. stages.Select(s => s.LastReport).OfType<StageReport>()];

    /// <summary>Trains with a batch.</summary>
    /// <param name="images">This rank's.</param>
    /// <param name="labels">Of these.</param>
    /// <param name="number">The batch's number in the run.</param>
    /// <param name="isToStop">Whether this rank has been asked to end.</param>
    /// <param name="isToSave">Whether its clock says that it is time to save.</param>
    /// <returns>What all ranks have found.</returns>
    /// <exception cref="DivergedException">The loss, or a norm that is to be clipped, is not a finite number.</exception>
    public StepFigures Take(Tensor images, Tensor labels, long number, bool isToStop, bool isToSave)
    {
        using var scope = NewDisposeScope();
        var start = Stopwatch.GetTimestamp();
        var own = new StepFigures(0, labels.shape[0], 0, null, null, isToStop, isToSave);
        ranks.Begin(own.Images);
        update.Begin();
        var clearing = Stopwatch.GetElapsedTime(start);
        // A number of its own for each rank's share.
        var mixed = options.Mixup?.Mix(images, labels, (number * ranks.Size) + ranks.Rank);
        // To the end of the step: the way back may call modules again, which have to be as they were.
        using var guard = images.shape[0] == 1 ? new OneValueGuard(model) : null;
        try
        {
            var scores = OneValueGuard.Call(model, (mixed?.Images ?? images).to(type));
            var value = mixed?.Loss(options.Loss, scores) ?? options.Loss.Of(scores, labels);
            own = own with { Loss = Evaluator.Number(value), Correct = Evaluator.Correct(scores, mixed?.Larger ?? labels) };
            update.Add(ranks.GoesBack(own.Loss) ? value : null, own.Images);
            var found = ranks.Exchange(own.With(Reports), update.IsComplete);
            if (!double.IsFinite(found.Loss))
            {
                throw new DivergedException(
                    $"the loss is {found.Loss}: training diverged; use a learning rate below {options.LearningRate}");
            }

            if (update.IsComplete)
            {
                Move();
            }

            if (Clock is not null)
            {
                Clock.Stepping += Stopwatch.GetElapsedTime(start);
                Clock.Optimizing += clearing;
            }

            return found;
        }
        catch
        {
            update.Drop();
            throw;
        }
    }

    /// <summary>Makes the optimizer's step.</summary>
    public void Move()
    {
        var start = Stopwatch.GetTimestamp();
        update.Complete();
        average?.Update();
        if (Clock is not null)
        {
            Clock.Optimizing += Stopwatch.GetElapsedTime(start);
        }
    }
}
