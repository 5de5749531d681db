using System.Globalization;
using ResNetNodes;
using ResNetNodes.Networks;
using ResNetNodes.Weights;
using TorchSharp;
using static TorchSharp.torch;

/// <summary>Trained networks with images and their scores, in files that scripts/check_weights.py reads and writes too.</summary>
internal static class WeightsExchange
{
    private static readonly string[] Endings = [".safetensors", ".pth"];

    private static readonly Dictionary<string, Func<nn.Module<Tensor, Tensor>>> Networks = new()
    {
        ["tiny"] = () => new TinyResNet(new() { Depth = 3, Planes = 4, ZeroInit = false, Seed = 1 }),
        ["basic"] = () => Staged("18"),
        ["bottleneck"] = () => Staged("50"),
    };

    /// <summary>Trains, and writes NAME.safetensors, NAME.pth and NAME.scores.safetensors of each network.</summary>
    public static void Write(string folder)
    {
        foreach (var (name, make) in Networks)
        {
            using var scope = NewDisposeScope();
            using var network = make();
            new RandomNumbers(2).SeedTorch();
            var (images, labels) = (rand(8, 3, 32, 32), randint(0, 10, 8, ScalarType.Int64));
            using (var optimizer = optim.SGD(network.parameters(), 0.02))
            {
                for (var step = 0; step < 5; step++)
                {
                    optimizer.zero_grad();
                    nn.functional.cross_entropy(network.call(images), labels).backward();
                    optimizer.step();
                }
            }

            foreach (var ending in Endings)
            {
                var metadata = new Dictionary<string, string> { ["network"] = name };
                WeightsFile.Save(Path.Combine(folder, name + ending), network, Names(name), metadata);
            }

            network.eval();
            using var guard = no_grad();
            using var scores = new Scores(images, network.call(images));
            WeightsFile.Save(Path.Combine(folder, $"{name}.scores.safetensors"), scores);
        }
    }

    /// <summary>Reads such files, and writes by how much the scores here differ from those in them.</summary>
    public static void Read(string folder)
    {
        foreach (var (name, make) in Networks)
        {
            foreach (var ending in Endings)
            {
                using var scope = NewDisposeScope();
                using var guard = no_grad();
                using var network = make();
                WeightsFile.Load(Path.Combine(folder, name + ending), network, Names(name));
                using var given = new Scores(empty(8, 3, 32, 32), empty(8, 10));
                WeightsFile.Load(Path.Combine(folder, $"{name}.scores.safetensors"), given);
                network.eval();
                var (images, scores) = (given.get_buffer("images")!, given.get_buffer("scores")!);
                var error = ((network.call(images) - scores).norm() / scores.norm()).item<float>();
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name + ending,-24}{error:0.0e+0}"));
            }
        }
    }

    private static ResNet Staged(string size) => new(new()
    {
        Kind = ResNetKind.Torchvision,
        Size = NetworkSize.Parse(size),
        Planes = 8,
        Seed = 1,
    });

    private static WeightNames? Names(string network) => network == "tiny" ? null : WeightNames.Torchvision;

    private sealed class Scores : nn.Module
    {
        public Scores(Tensor images, Tensor scores)
            : base(nameof(Scores))
        {
            register_buffer("images", images);
            register_buffer("scores", scores);
        }
    }
}
