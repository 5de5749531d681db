using TorchSharp;

namespace ResNetNodes.Training;

/// <summary>How a network is trained: SGD with momentum, cross-entropy. Batches are a <see cref="Data.BatchLoader"/>'s.</summary>
public sealed record TrainingOptions
{
    /// <summary>Total number of epochs; a resumed run continues up to this number.</summary>
    public int Epochs { get; init; } = 3;

    /// <summary>The first learning rate.</summary>
    public double LearningRate { get; init; } = 0.1;

    /// <summary>SGD's momentum.</summary>
    public double Momentum { get; init; } = 0.9;

    /// <summary>SGD's weight decay.</summary>
    public double WeightDecay { get; init; } = 5e-4;

    /// <summary>How the learning rate changes over the epochs.</summary>
    public Schedule Schedule { get; init; } = Schedule.Cosine;

    /// <summary>The device on which the network runs.</summary>
    public torch.Device Device { get; init; } = torch.CPU;

    /// <summary>Multiplies the learning rate of parameters inside residual stages (paper, figure 3c: by the depth).</summary>
    public double StageRateFactor { get; init; } = 1;

    /// <summary>A different weight decay for some parameters, such as the last batch normalization of a stage's functions.</summary>
    public NamedWeightDecay? NamedWeightDecay { get; init; }

    /// <summary>Training steps after which <see cref="Trainer.SaveDue"/> is called within an epoch; null for no such number.</summary>
    public int? SaveSteps { get; init; }

    /// <summary>The time after which <see cref="Trainer.SaveDue"/> is called within an epoch; null for none.</summary>
    public TimeSpan? SaveInterval { get; init; } = TimeSpan.FromMinutes(10);

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(SaveSteps ?? 1, 1, nameof(SaveSteps));
        ArgumentOutOfRangeException.ThrowIfLessThan(SaveInterval ?? TimeSpan.Zero, TimeSpan.Zero, nameof(SaveInterval));
        ArgumentOutOfRangeException.ThrowIfLessThan(Epochs, 1);
        Positive(LearningRate, nameof(LearningRate));
        Positive(StageRateFactor, nameof(StageRateFactor));
        ArgumentOutOfRangeException.ThrowIfNegative(Momentum);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(Momentum, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(WeightDecay);
        ArgumentOutOfRangeException.ThrowIfNegative(NamedWeightDecay?.WeightDecay ?? 0, nameof(NamedWeightDecay));
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
public sealed record NamedWeightDecay([property: System.Diagnostics.CodeAnalysis.StringSyntax("Regex")] string Pattern, double WeightDecay);
