using ResNetNodes.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>Loss, accuracy and metrics of a network over a data set.</summary>
/// <param name="model">The network.</param>
/// <param name="options">Loss, metrics, device.</param>
/// <param name="modes">How its modules are to be left.</param>
/// <param name="average">What takes the place of the weights meanwhile; null: the weights.</param>
/// <param name="ranks">Those that share the images.</param>
internal sealed class Evaluator(
    nn.Module<Tensor, Tensor> model, TrainingOptions options, ModuleModes modes, WeightAverage? average, StepRanks ranks)
{
    /// <summary>The number type of the network.</summary>
    public ScalarType Type { get; } = TypeOf(model);

    /// <summary>The number type of a network's parameters, and so of its input.</summary>
    public static ScalarType TypeOf(nn.Module network) =>
        network.parameters().FirstOrDefault(p => p.is_floating_point())?.dtype ?? ScalarType.Float32;

    /// <summary>A tensor of one element as a number.</summary>
    public static double Number(Tensor value)
    {
        using var guard = no_grad();
        return value.to(ScalarType.Float64).item<double>();
    }

    /// <summary>How many predictions are their labels.</summary>
    public static long Correct(Tensor scores, Tensor labels)
    {
        using var guard = no_grad();
        return scores.argmax(1).eq(labels).sum().item<long>();
    }

    /// <summary>Evaluates; the network is in training mode afterwards, whatever happens.</summary>
    /// <param name="loader">The images.</param>
    /// <param name="epoch">Epochs of training so far.</param>
    /// <param name="which">Which images they are.</param>
    public EvaluationMetrics Evaluate(BatchLoader loader, int epoch, EvaluatedImages which)
    {
        using var averaged = average?.Use();
        using var guard = no_grad();
        var (total, right, count) = (0.0, 0L, 0L);
        var sums = new double[options.Metrics.Count];
        model.eval();
        try
        {
            foreach (var batch in loader.Epoch(0, 0, ranks.Share))
            {
                using var scope = NewDisposeScope();
                using (batch)
                {
                    var (images, labels) = batch.On(options.Device);
                    var scores = model.call(images.to(Type));
                    total += Number(options.Loss.Of(scores, labels)) * batch.Count;
                    right += Correct(scores, labels);
                    count += batch.Count;
                    for (var i = 0; i < sums.Length; i++)
                    {
                        sums[i] += Number(options.Metrics[i].Of(scores, labels));
                    }
                }
            }
        }
        finally
        {
            modes.Train();
        }

        var all = ranks.Sum([total, right, count, .. sums]);
        var shared = all[2];
        if (shared == 0 && !ranks.IsAlone)
        {
            throw new ResNetNodesException("none of the images to test with can be decoded, on any rank");
        }

        return new(
            epoch, which, all[0] / shared, all[1] / shared,
            options.Metrics.Zip(all[3..]).ToDictionary(pair => pair.First.Name, pair => pair.Second / shared));
    }
}
