using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;
using TorchSharp;

namespace ResNetNodes.Training;

/// <summary>
/// How a network is trained: by SGD with momentum and cross-entropy, unless told otherwise (docs/training.md). Batches are a
/// <see cref="Data.BatchLoader"/>'s.
/// </summary>
public sealed record TrainingOptions
{
    /// <summary>Total number of epochs; a resumed run continues up to this number.</summary>
    public int Epochs { get; init; } = 3;

    /// <summary>The first learning rate.</summary>
    public double LearningRate { get; init; } = 0.1;

    /// <summary>What moves the parameters.</summary>
    public OptimizerChoice Optimizer { get; init; } = OptimizerChoice.Sgd();

    /// <summary>The optimizer's weight decay.</summary>
    public double WeightDecay { get; init; } = 5e-4;

    /// <summary>What is made smaller.</summary>
    public LossFunction Loss { get; init; } = LossFunction.CrossEntropy();

    /// <summary>What tests measure beside loss and accuracy; no two of one name.</summary>
    public IReadOnlyList<Metric> Metrics { get; init; } = [];

    /// <summary>How the learning rate changes over the run.</summary>
    public Schedule Schedule { get; init; } = Schedule.Cosine;

    /// <summary>The device on which the network runs.</summary>
    public torch.Device Device { get; init; } = torch.CPU;

    /// <summary>Multiplies the learning rate of parameters inside residual stages (paper, figure 3c: by the depth).</summary>
    public double StageRateFactor { get; init; } = 1;

    /// <summary>A different weight decay for some parameters, such as the last batch normalization of a stage's functions.</summary>
    public NamedWeightDecay? NamedWeightDecay { get; init; }

    /// <summary>
    /// The largest norm of the gradient of all parameters together: a larger one is scaled down to it, in place; null: any. The norm is
    /// a step's <see cref="TrainingProgress.GradientNorm"/>.
    /// </summary>
    public double? ClipNorm { get; init; }

    /// <summary>
    /// Batches whose gradients make one step of the optimizer: the gradient is that of one batch of all their images (batch normalization
    /// still sees each by itself). The last step of an epoch may have fewer. Takes no memory.
    /// </summary>
    public int Accumulate { get; init; } = 1;

    /// <summary>
    /// Decay of an exponential moving average of the weights, with which tests are made, above 0 and below 1; null: none. Takes the memory
    /// of the trained weights and of the buffers once more.
    /// </summary>
    public double? AverageDecay { get; init; }

    /// <summary>Mixes the images of training batches in pairs; null: as they are.</summary>
    public Mixup? Mixup { get; init; }

    /// <summary>
    /// Whether all batch normalizations stay in evaluation mode while the network is trained: they use their running statistics and leave
    /// them as they are. Weights and biases of theirs are frozen by <c>requires_grad</c>, as others are.
    /// </summary>
    public bool FreezeNorms { get; init; }

    /// <summary>
    /// A regular expression on names such as stage3.functions.7: these modules, with all inside, stay in evaluation mode while the network
    /// is trained; null: none.
    /// </summary>
    [StringSyntax("Regex")]
    public string? EvaluationModules { get; init; }

    /// <summary>
    /// Epochs without a higher validation accuracy after which a run ends; null: all epochs are made. Needs validation images.
    /// </summary>
    public int? Patience { get; init; }

    /// <summary>Training steps after which <see cref="Trainer.SaveDue"/> is called within an epoch; null for no such number.</summary>
    public int? SaveSteps { get; init; }

    /// <summary>The time after which <see cref="Trainer.SaveDue"/> is called within an epoch; null for none.</summary>
    public TimeSpan? SaveInterval { get; init; } = TimeSpan.FromMinutes(10);

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(SaveSteps ?? 1, 1, nameof(SaveSteps));
        ArgumentOutOfRangeException.ThrowIfLessThan(SaveInterval ?? TimeSpan.Zero, TimeSpan.Zero, nameof(SaveInterval));
        ArgumentOutOfRangeException.ThrowIfLessThan(Epochs, 1);
        ArgumentNullException.ThrowIfNull(Optimizer);
        ArgumentNullException.ThrowIfNull(Loss);
        ArgumentNullException.ThrowIfNull(Metrics);
        ArgumentNullException.ThrowIfNull(Schedule);
        Positive(LearningRate, nameof(LearningRate));
        Positive(StageRateFactor, nameof(StageRateFactor));
        Positive(ClipNorm ?? 1, nameof(ClipNorm));
        ArgumentOutOfRangeException.ThrowIfNegative(WeightDecay);
        ArgumentOutOfRangeException.ThrowIfNegative(NamedWeightDecay?.WeightDecay ?? 0, nameof(NamedWeightDecay));
        ArgumentOutOfRangeException.ThrowIfLessThan(Accumulate, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Patience ?? 1, 1, nameof(Patience));
        if (AverageDecay is not (null or (> 0 and < 1)))
        {
            throw new ArgumentOutOfRangeException(nameof(AverageDecay), AverageDecay, "expected above 0 and below 1");
        }

        if (Metrics.GroupBy(metric => metric.Name).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new ArgumentException($"two metrics are called {twice.Key}; give each a name of its own");
        }

        Mixup?.Validate();
        _ = EvaluationModules is { } pattern ? new Regex(pattern) : null;
    }

    private static void Positive(double value, string name)
    {
        if (!(value > 0) || !double.IsFinite(value))
        {
            throw new ArgumentOutOfRangeException(name, value, "expected a positive number");
        }
    }
}

/// <summary>Weight decay of the parameters that a pattern names.</summary>
/// <param name="Pattern">A regular expression on names such as stage3.functions.7.norm3.weight.</param>
/// <param name="WeightDecay">Used for them instead of the options' weight decay.</param>
public sealed record NamedWeightDecay([property: StringSyntax("Regex")] string Pattern, double WeightDecay);
