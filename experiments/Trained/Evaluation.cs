using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>What a network has made of images, batch by batch.</summary>
/// <param name="classes">Classes of the network.</param>
/// <param name="top">An image is also counted as found where its class is among so many of the highest scores.</param>
internal sealed class Evaluation(int classes, int top)
{
    private readonly Dictionary<(int Label, int Predicted), long> pairs = [];
    private readonly Dictionary<int, long> labelled = [], taken = [];
    private double loss;
    private long amongTop;

    public long Images { get; private set; }

    /// <summary>Images whose highest score is that of their class.</summary>
    public long Correct { get; private set; }

    /// <summary>Mean cross-entropy.</summary>
    public double Loss => loss / Images;

    /// <summary>The share of images whose class is among the highest scores; null where there are no more classes than those.</summary>
    public double? TopAccuracy => classes > top ? Share(amongTop) : null;

    /// <summary>The pairs of a class and what its images were taken for, in order.</summary>
    public IReadOnlyList<(int Label, int Predicted, long Images)> Pairs =>
        [.. pairs.OrderBy(pair => pair.Key).Select(pair => (pair.Key.Label, pair.Key.Predicted, pair.Value))];

    /// <summary>Images of one class that were taken for another.</summary>
    public long this[int label, int predicted] => pairs.GetValueOrDefault((label, predicted));

    /// <summary>Images of a class.</summary>
    public long Of(int label) => labelled.GetValueOrDefault(label);

    /// <summary>Images that were taken for one of a class.</summary>
    public long TakenFor(int label) => taken.GetValueOrDefault(label);

    public double Share(long images) => (double)images / Images;

    /// <summary>Counts a batch.</summary>
    /// <param name="scores">[B, classes], all finite.</param>
    /// <param name="labels">[B] int64.</param>
    public void Add(Tensor scores, Tensor labels)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        var count = labels.shape[0];
        // As a training's tests have it: to the last bit.
        loss += nn.functional.cross_entropy(scores, labels).to(ScalarType.Float64).item<double>() * count;
        var own = scores.gather(1, labels.unsqueeze(1));
        amongTop += scores.gt(own).sum(1).lt(top).sum().item<long>();
        var (given, predicted) = (labels.cpu().data<long>().ToArray(), scores.argmax(1).cpu().data<long>().ToArray());
        foreach (var (label, guess) in given.Zip(predicted, (l, p) => ((int)l, (int)p)))
        {
            Count(pairs, (label, guess));
            Count(labelled, label);
            Count(taken, guess);
            Correct += label == guess ? 1 : 0;
        }

        Images += count;
    }

    private static void Count<T>(Dictionary<T, long> counts, T key)
        where T : notnull => counts[key] = counts.GetValueOrDefault(key) + 1;
}
