using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>Something that tests measure, as a mean over the images.</summary>
public sealed record Metric
{
    /// <summary>Names a function.</summary>
    /// <param name="name">A letter, then letters, digits, points and hyphens.</param>
    /// <param name="sum">
    /// Takes scores [B, C] and labels [B] int64; gives one number, the sum over the images of the batch.
    /// </param>
    /// <exception cref="ArgumentException">The name is none.</exception>
    public Metric(string name, Func<Tensor, Tensor, Tensor> sum)
    {
        ArgumentNullException.ThrowIfNull(sum);
        ChoiceName.Require(name, "metric");
        (Name, Sum) = (name, sum);
    }

    /// <summary>Its name.</summary>
    public string Name { get; }

    /// <summary>The sum over the images of a batch.</summary>
    public Func<Tensor, Tensor, Tensor> Sum { get; }

    /// <exception cref="ResNetNodesException">It gives something else than one number.</exception>
    internal Tensor Of(Tensor scores, Tensor labels) => Sum(scores, labels) is { NumberOfElements: 1 } value
        ? value
        : throw new ResNetNodesException($"metric {Name}: expected one number, the sum over the images of a batch");

    /// <summary>The share of images whose label is among those of the k highest scores; of k classes or fewer, all.</summary>
    /// <param name="k">1 or more; 1 is the accuracy.</param>
    /// <returns>The metric top-k.</returns>
    public static Metric Top(int k)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        return new($"top-{k}", (scores, labels) =>
            scores.topk((int)Math.Min(k, scores.shape[1]), 1).indexes.eq(labels.unsqueeze(1)).sum());
    }
}

/// <summary>What a network does on some images, in evaluation mode: means over the images.</summary>
/// <param name="Epoch">After so many epochs.</param>
/// <param name="Images">Which: those of the test, of the validation, or others.</param>
/// <param name="Loss">The loss.</param>
/// <param name="Accuracy">As a fraction.</param>
/// <param name="Metrics">The options' metrics, by name.</param>
public sealed record EvaluationMetrics(
    int Epoch, EvaluatedImages Images, double Loss, double Accuracy, IReadOnlyDictionary<string, double> Metrics);

/// <summary>Images that a network is evaluated on.</summary>
public enum EvaluatedImages
{
    /// <summary>Any.</summary>
    Others,

    /// <summary>Those that nothing is decided by.</summary>
    Test,

    /// <summary>Those that say which epoch is the best.</summary>
    Validation,
}
