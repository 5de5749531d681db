using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli.Options;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>How far a network's gradient is from backprop's at the same weights, relative to that.</summary>
/// <param name="InStages">Of the residual parameters.</param>
/// <param name="Whole">Of all parameters.</param>
internal sealed record GradientError(double InStages, double Whole);

/// <summary>A network beside one that trains: it stores its states, and takes over the other's weights whenever it is asked.</summary>
internal sealed class BackpropTruth : IDisposable
{
    private readonly nn.Module<Tensor, Tensor> truth;
    private readonly Device device;

    /// <summary>Takes the network over.</summary>
    /// <param name="truth">As the one that trains, but for its reconstruction.</param>
    /// <param name="device">Where both are.</param>
    public BackpropTruth(nn.Module<Tensor, Tensor> truth, Device device)
    {
        (this.truth, this.device) = (truth, device);
        truth.to(device);
    }

    /// <summary>Compares both. It leaves the network as it was, but that its stages learn from it as from any pass.</summary>
    /// <param name="model">The network that trains.</param>
    /// <param name="batch">What both are given.</param>
    public GradientError Compare(nn.Module<Tensor, Tensor> model, Batch batch)
    {
        using var scope = NewDisposeScope();
        var buffers = model.buffers().Select(buffer => buffer.clone()).ToList();
        Copy(model.parameters().Concat(model.buffers()), truth.parameters().Concat(truth.buffers()));
        var inStages = NetworkGroup.StagesOf(model).Sum(s => s.parameters().Count());
        // Those of the stages first.
        List<Tensor> Gradients(nn.Module<Tensor, Tensor> of)
        {
            List<Tensor> residual = [.. NetworkGroup.StagesOf(of).SelectMany(s => s.parameters())];
            var handles = residual.Select(p => p.Handle).ToHashSet();
            return NetworkGradient.Of(of, residual.Concat(of.parameters().Where(p => !handles.Contains(p.Handle))), batch, device);
        }

        var (found, expected) = (Gradients(model), Gradients(truth));
        Copy(buffers, model.buffers());
        double Error(int count) => NetworkGradient.Difference(
            NetworkGradient.Whole(found.Take(count)), NetworkGradient.Whole(expected.Take(count))).Error;
        return new(Error(inStages), Error(found.Count));
    }

    public void Dispose() => truth.Dispose();

    private static void Copy(IEnumerable<Tensor> from, IEnumerable<Tensor> to)
    {
        using var guard = no_grad();
        foreach (var (source, target) in from.Zip(to))
        {
            target.copy_(source);
        }
    }
}
