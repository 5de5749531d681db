using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>A trained network on its device, in evaluation mode.</summary>
internal sealed class TrainedClassifier : IDisposable
{
    private readonly nn.Module<Tensor, Tensor> network;
    private readonly ScalarType type;
    private readonly Device device;

    /// <param name="network">The network, which is disposed with this.</param>
    /// <param name="description">Its description.</param>
    /// <param name="device">Where it computes.</param>
    public TrainedClassifier(nn.Module<Tensor, Tensor> network, NetworkDescription description, Device device)
    {
        (this.network, Description, this.device) = (network, description, device);
        type = network.parameters().First().dtype;
        network.to(device);
        network.eval();
    }

    public NetworkDescription Description { get; }

    /// <summary>A class as people read it: its name, or its number.</summary>
    public string NameOf(int label) => Description.ClassNames?[label] ?? $"{label}";

    /// <summary>Scores of images on the device, each a finite number.</summary>
    /// <param name="images">[B, channels, H, W].</param>
    /// <param name="what">What the images are of, for an error.</param>
    /// <returns>[B, classes].</returns>
    public Tensor Scores(Tensor images, string what)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        var scores = network.call(images.to(type));
        return scores.isfinite().all().item<bool>()
            ? scores.MoveToOuterDisposeScope()
            : throw new ResNetNodesException(
                $"{what}: the network's scores are not finite numbers: its training diverged, or it was made for other inputs");
    }

    /// <summary>The images on the network's device.</summary>
    public (Tensor Images, Tensor Labels) On(Batch batch) => batch.On(device);

    /// <summary>Refuses images of a size that its kind does not take, or a batch that does not fit into memory.</summary>
    /// <param name="option">Names the size and its value.</param>
    /// <param name="pixels">Rows and columns.</param>
    /// <param name="images">Images at a time.</param>
    public void Require(string option, int pixels, int images)
    {
        if (Description.Depth is not null && pixels != 32)
        {
            throw new UsageException($"{option} is {pixels}, but a tiny network works on images of 32×32");
        }

        MemoryNeed.Require(
            $"--batch is {images}", $"images of {pixels}×{pixels} need",
            (double)images * Description.InputChannels * pixels * pixels * MemoryNeed.Float, "a smaller --batch");
    }

    public void Dispose() => network.Dispose();
}
