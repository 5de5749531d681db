using ResNetNodes.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>Gradients of a network, and how far they are apart.</summary>
internal static class NetworkGradient
{
    /// <summary>Gradients of these parameters for the mean cross-entropy of a batch, in float64 on the host.</summary>
    /// <param name="model">The network, in training mode afterwards.</param>
    /// <param name="parameters">Of its parameters.</param>
    /// <param name="batch">The batch.</param>
    /// <param name="device">Where the network is.</param>
    public static List<Tensor> Of(nn.Module<Tensor, Tensor> model, IEnumerable<Tensor> parameters, Batch batch, Device device)
    {
        model.train();
        foreach (var parameter in model.parameters())
        {
            parameter.grad = null;
        }

        var (images, labels) = batch.On(device);
        using var loss = nn.functional.cross_entropy(model.call(images), labels);
        loss.BackwardThroughStages();
        return [.. parameters.Select(p => p.grad!.detach().to(ScalarType.Float64).cpu().clone())];
    }

    /// <summary>All of them as one vector.</summary>
    public static Tensor Whole(IEnumerable<Tensor> gradients) => cat([.. gradients.Select(g => g.flatten())]);

    /// <summary>
    /// Relative error and cosine of two vectors, in float64: the dot products of near-equal float32 vectors would round a cosine above 1.
    /// </summary>
    public static (double Error, double? Cosine) Difference(Tensor found, Tensor truth)
    {
        var size = truth.norm().item<double>();
        var norms = found.norm().item<double>() * size;
        var off = (found - truth).norm().item<double>();
        return (size > 0 ? off / size : off, norms > 0 ? found.dot(truth).item<double>() / norms : null);
    }
}
