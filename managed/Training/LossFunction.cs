using System.Globalization;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>What a trainer makes smaller: a value with a name. Tests take it too.</summary>
public sealed record LossFunction
{
    private readonly Func<Tensor, Tensor, Tensor> mean;

    private LossFunction(string name, Func<Tensor, Tensor, Tensor> mean) => (Name, this.mean) = (name, mean);

    private string Name { get; }

    /// <summary>Cross-entropy, where each label counts 1 − s, and each class of C counts s/C beside it.</summary>
    /// <param name="labelSmoothing">s, from 0 to below 1.</param>
    /// <returns>The loss.</returns>
    /// <exception cref="ArgumentOutOfRangeException">s is out of its range.</exception>
    public static LossFunction CrossEntropy(double labelSmoothing = 0) => labelSmoothing is >= 0 and < 1
        ? new(
            labelSmoothing == 0
                ? "cross-entropy"
                : string.Create(CultureInfo.InvariantCulture, $"cross-entropy smoothed by {labelSmoothing:R}"),
            (scores, labels) => nn.functional.cross_entropy(scores, labels, label_smoothing: labelSmoothing))
        : throw new ArgumentOutOfRangeException(nameof(labelSmoothing), labelSmoothing, "expected from 0 to below 1");

    /// <summary>A function of the user's own. A run goes on with one of the same name alone.</summary>
    /// <param name="name">A letter, then letters, digits, points and hyphens: the numbers that it depends on are part of it.</param>
    /// <param name="mean">Takes scores [B, C] and labels [B] int64; gives the mean over the batch, one number.</param>
    /// <returns>The loss.</returns>
    /// <exception cref="ArgumentException">The name is none.</exception>
    public static LossFunction Custom(string name, Func<Tensor, Tensor, Tensor> mean)
    {
        ArgumentNullException.ThrowIfNull(mean);
        ChoiceName.Require(name, "loss", "cross-entropy");
        return new(name, mean);
    }

    /// <summary>Equal by name.</summary>
    /// <param name="other">The other.</param>
    /// <returns>Whether both print the same.</returns>
    public bool Equals(LossFunction? other) => other?.Name == Name;

    /// <inheritdoc/>
    public override int GetHashCode() => Name.GetHashCode(StringComparison.Ordinal);

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>The mean loss of a batch.</summary>
    /// <exception cref="ResNetNodesException">A function of the user's own gives something else than one number.</exception>
    internal Tensor Of(Tensor scores, Tensor labels)
    {
        var value = mean(scores, labels);
        return value is { NumberOfElements: 1 }
            ? value
            : throw new ResNetNodesException(
                $"loss {Name}: gave {(value is null ? "nothing" : $"a tensor [{string.Join(", ", value.shape)}]")}, expected one number, "
                + "the mean over the batch");
    }
}
