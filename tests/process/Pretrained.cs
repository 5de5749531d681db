using System.Globalization;
using ResNetNodes;
using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using ResNetNodes.Weights;
using TorchSharp;
using static TorchSharp.torch;

/// <summary>The pretrained network of scripts/check-pretrained.sh: its features, and what it is worth to a training.</summary>
internal static class Pretrained
{
    // Pixels as the network was trained on: up to 255, around 0.
    private const double Scale = 58;

    /// <summary>Writes images and the features of the network in evaluation mode, for PyTorch to compare.</summary>
    /// <param name="weights">The weights, without a last layer.</param>
    /// <param name="photographs">A folder of JPEG images.</param>
    /// <param name="target">The file.</param>
    public static void WriteFeatures(string weights, string photographs, string target)
    {
        using var scope = NewDisposeScope();
        using var guard = no_grad();
        using var network = Network(10);
        WeightsFile.Load(weights, network, except: ["head"]);
        network.eval();
        new RandomNumbers(1).SeedTorch();
        var folder = ImageFolder.Load(photographs, skipCorrupt: true);
        var loader = new BatchLoader(folder.Take(8), Augmentation.ImageNet.WithoutRandomness(), 8, null);
        var photos = loader.Epoch(0).First().Images;
        using var bag = new Bag();
        foreach (var (name, images) in new[] { ("32", randn(8, 3, 32, 32)), ("224", photos) })
        {
            var given = images * Scale;
            bag.register_buffer("images" + name, given);
            var features = network.Parts.SkipLast(1).Aggregate(given, (state, part) => part.Module.call(state)).mean([2, 3]);
            bag.register_buffer("features" + name, features);
        }

        WeightsFile.Save(target, bag);
    }

    /// <summary>Trains on Fashion-MNIST from the weights and from random ones, and writes the test accuracies.</summary>
    /// <param name="weights">The weights, without a last layer.</param>
    /// <param name="data">The folder of Fashion-MNIST.</param>
    /// <param name="images">Training images.</param>
    public static void Train(string weights, string data, int images)
    {
        const int batch = 32;
        var pixels = Augmentation.Grey with { Deviation = [.. Augmentation.Grey.Deviation.Select(deviation => deviation / Scale)] };
        var train = new BatchLoader(FashionMnist.Load(data, train: true).Take(images), pixels, batch, 1);
        var test = new BatchLoader(FashionMnist.Load(data, train: false).Take(2000), pixels.WithoutRandomness(), 200, null);
        foreach (var isPretrained in new[] { true, false })
        {
            using var network = Network(10);
            if (isPretrained)
            {
                WeightsFile.Load(weights, network, except: ["head"]);
            }

            var name = isPretrained ? "pretrained" : "from scratch";
            using var trainer = new Trainer(network, new TrainingOptions { Epochs = 1, LearningRate = 0.01 });
            trainer.Run(train, test, epoch => Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{name,-14}{train.BatchCount} steps, test accuracy {100 * epoch.TestAccuracy:0.0} %")));
        }
    }

    // "ResNet-18" with one block more in its last stage.
    private static ResNet Network(int classes) => new(new()
    {
        Kind = ResNetKind.Torchvision,
        Size = NetworkSize.Custom([2, 2, 2, 3], bottleneck: false),
        Classes = classes,
        Seed = 1,
    });

    private sealed class Bag() : nn.Module(nameof(Bag));
}
