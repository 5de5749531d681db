using System.Text.RegularExpressions;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// A step of the optimizer, from the gradients of one batch or of several: in place, with no copy of a gradient. Gradients are looked at
/// once all are added, however a stage adds them.
/// </summary>
internal sealed class ParameterUpdate : IDisposable
{
    private readonly TrainingOptions options;
    private readonly List<Parameter> parameters;
    private readonly List<double> baseRates;
    private readonly StepRanks ranks;
    private long first;
    private long images;
    private int batches;

    /// <param name="model">The network.</param>
    /// <param name="options">Optimizer, clipping, accumulation.</param>
    /// <param name="ranks">Those that train the network.</param>
    public ParameterUpdate(nn.Module model, TrainingOptions options, StepRanks ranks)
    {
        (this.options, this.ranks) = (options, ranks);
        var inStages = StagesOf(model).SelectMany(s => s.parameters()).Select(p => p.Handle).ToHashSet();
        var groups = model.named_parameters().Where(p => p.parameter.requires_grad).GroupBy(p => (
            Rate: options.LearningRate * (inStages.Contains(p.parameter.Handle) ? options.StageRateFactor : 1),
            Decay: options.NamedWeightDecay is { } named && Regex.IsMatch(p.name, named.Pattern)
                ? named.WeightDecay
                : options.WeightDecay))
            .Select(g => new TrainedGroup([.. g.Select(p => p.parameter)], g.Key.Rate, g.Key.Decay)).ToList();
        if (groups.Count == 0)
        {
            throw new ArgumentException("the network has no parameter that requires a gradient: all are frozen");
        }

        Optimizer = options.Optimizer.Create(groups);
        parameters = [.. groups.SelectMany(group => group.Parameters)];
        baseRates = [.. Optimizer.ParamGroups.Select(group => group.LearningRate)];
    }

    /// <summary>The stages whose parameters have a rate of their own (<see cref="TrainingOptions.StageRateFactor"/>).</summary>
    public static IEnumerable<ResidualStage> StagesOf(nn.Module model) =>
        ILearningStage.Of(model).Select(s => s.Stage).OfType<ResidualStage>();

    /// <summary>What moves the parameters.</summary>
    public OptimizerHelper Optimizer { get; }

    /// <summary>Whether batches have been added to a step that is not made yet.</summary>
    public bool IsOpen => batches > 0;

    /// <summary>Whether the step has all of its batches.</summary>
    public bool IsComplete => batches == options.Accumulate;

    /// <summary>The norm of the last step's gradient before it was clipped; null where none is.</summary>
    public double? GradientNorm { get; private set; }

    /// <summary>Sets all learning rates to those of an epoch's next batch.</summary>
    /// <returns>The options' rate, times the schedule's factor.</returns>
    public double SetRate(BegunEpoch state)
    {
        var factor = Factor(state, state.Steps);
        SetFactor(factor);
        return options.LearningRate * factor;
    }

    /// <summary>Sets all learning rates to so many times their first.</summary>
    public void SetFactor(double factor)
    {
        foreach (var (group, rate) in Optimizer.ParamGroups.Zip(baseRates))
        {
            group.LearningRate = rate * factor;
        }
    }

    /// <summary>The rate of a batch of an epoch, from 0.</summary>
    public double RateOf(BegunEpoch state, int batch) => options.LearningRate * Factor(state, batch);

    /// <summary>Before a batch: gradients are zero for the first of a step.</summary>
    public void Begin()
    {
        if (batches == 0)
        {
            Optimizer.zero_grad();
        }
    }

    /// <summary>Adds a batch's gradient. Its weight in the step is its share of the images, as if all were one batch.</summary>
    /// <param name="mean">
    /// The mean loss of its images; null where it is no finite number: then there is no gradient, but other ranks wait for this one's.
    /// </param>
    /// <param name="count">How many there are.</param>
    public void Add(Tensor? mean, long count)
    {
        var (firstOfBatch, all) = ranks.Images();
        first = batches == 0 ? firstOfBatch : first;
        ranks.ExpectBackward(batches + 1 == options.Accumulate);
        if (count == first)
        {
            mean?.BackwardThroughStages();
        }
        else
        {
            using Scalar weight = (double)count / first;
            mean?.mul(weight).BackwardThroughStages();
        }

        images = (batches == 0 ? 0 : images) + all;
        batches++;
    }

    /// <summary>Moves the parameters; of several ranks, gradients are summed up.</summary>
    /// <exception cref="DivergedException">The gradient's norm is not a finite number; nothing has moved.</exception>
    public void Complete()
    {
        // What stands in the gradients is the mean over the images, times images/first.
        var factor = (double)first / images;
        Drop();
        if (options.ClipNorm is { } most)
        {
            var norm = ranks.Agreed(factor * Norm());
            if (!double.IsFinite(norm))
            {
                throw new DivergedException(
                    $"the norm of the gradient is {norm}: training diverged; use a learning rate below {options.LearningRate}");
            }

            GradientNorm = norm;
            factor *= norm > most ? most / norm : 1;
        }

        if (factor != 1)
        {
            using var guard = no_grad();
            using Scalar scale = factor;
            foreach (var parameter in parameters)
            {
                using var scope = NewDisposeScope();
                parameter.grad?.mul_(scale);
            }
        }

        Optimizer.step();
    }

    /// <summary>Forgets the batches of a step that is not made.</summary>
    public void Drop() => batches = 0;

    public void Dispose() => Optimizer.Dispose();

    // A step's factor is that of all of its batches. Counted are batches with images, of which steps are made.
    private double Factor(BegunEpoch state, int batch) => options.Schedule.Factor(
        state.Epoch - 1, options.Epochs, batch / options.Accumulate,
        (state.BatchCount + options.Accumulate - 1) / options.Accumulate);

    // In float64, so that no square overflows: what it takes beside is the largest parameter's gradient in that type.
    private double Norm()
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        List<Tensor> norms = [];
        foreach (var parameter in parameters)
        {
            using var inner = NewDisposeScope();
            if (parameter.grad is { } gradient)
            {
                norms.Add(linalg.vector_norm(gradient.to(ScalarType.Float64), 2).MoveToOuterDisposeScope());
            }
        }

        return norms.Count == 0 ? 0 : linalg.vector_norm(stack(norms), 2).item<double>();
    }
}
