// A program outside of the repository: the engine first, then a network that is trained, saved and read again.
using ResNetNodes;
using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using ResNetNodes.Weights;

try
{
    Console.WriteLine($"engine {NativeRuntime.Version}, {NativeRuntime.ActiveKernelPath}");
    var folder = Directory.CreateTempSubdirectory("training").FullName;
    var path = Path.Combine(folder, "checkpoint.bin");
    var pixels = new byte[40 * 3 * 32 * 32];
    new Random(1).NextBytes(pixels);
    var weights = Path.Combine(folder, "network.safetensors");
    var images = new InMemoryImages("noise", pixels, [.. Enumerable.Range(0, 40).Select(i => i % 10)], 3, 32, 32, 10);
    var options = new TrainingOptions { Epochs = 1 };
    BatchLoader Batches() => new(images, new Augmentation { Size = 32 }, batchSize: 20, shuffleSeed: 1);
    using (var network = new TinyResNet(new TinyResNetOptions { Depth = 4, Planes = 4, Seed = 1 }))
    using (var trainer = new Trainer(network, options))
    {
        trainer.Run(Batches(), Batches(), metrics => Console.WriteLine($"loss {metrics.TrainLoss}"));
        trainer.Save(path);
        NetworkFile.Save(weights, network);
    }

    using (var network = new TinyResNet(new TinyResNetOptions { Depth = 4, Planes = 4, Seed = 2 }))
    using (var trainer = new Trainer(network, options))
    {
        trainer.Resume(path);
        Console.WriteLine($"resumed after epoch {trainer.History.Count}");
    }

    var (read, description) = NetworkFile.Load(weights);
    using (read)
    {
        Console.WriteLine($"read {description.Kind} of depth {description.Depth}");
    }

    Directory.Delete(folder, recursive: true);
    return 0;
}
catch (ResNetNodesException exception)
{
    Console.Error.WriteLine(exception.Message);
    return 1;
}
