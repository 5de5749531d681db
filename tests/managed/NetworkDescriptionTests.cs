using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class NetworkDescriptionTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("described").FullName;

    private static readonly StageOptions Heun =
        new() { Solver = Solver.Heun, Reconstruction = Reconstruction.Corrected(2), StepSize = 0.25 };

    public void Dispose() => Directory.Delete(folder, recursive: true);

    public static TheoryData<string> Networks =>
    [
        "tiny", "tiny of heun", "tiny of one channel", "tiny in float64", .. Enum.GetValues<ResNetKind>().Select(kind => $"{kind}"),
        "bottleneck", "large stem", "blocks alone", "mixed precision",
    ];

    /// <summary>The network that is built from the description computes what the described one does, with its weights.</summary>
    [Theory]
    [MemberData(nameof(Networks))]
    public void LoadNetwork_ComputesTheSame(string name)
    {
        using var scope = NewDisposeScope();
        using var network = Make(name);
        var (path, type) = (Path.Combine(folder, "c.bin"), network.parameters().First().dtype);
        var x = Truth.Normal(1, 3, name == "tiny of one channel" ? 1 : 3, 32, 32).to(type);
        // Running averages too, not only weights.
        using (no_grad())
        {
            network.call(x);
        }

        Checkpoint.Save(path, network, null, []);
        var before = RandomNumbers.TorchState();
        var (found, description) = Checkpoint.LoadNetwork(path);
        Assert.Equal(before, RandomNumbers.TorchState());
        using (found)
        {
            network.eval();
            found.eval();
            using var guard = no_grad();
            Assert.Equal(network.call(x).bytes.ToArray(), found.call(x).bytes.ToArray());
        }

        Assert.Equal(NetworkDescription.Of(network), description);
        Assert.Equal(description, Checkpoint.Describe(path));
        Assert.Equal(description, NetworkDescription.Parse(description.ToJson()));
        Assert.DoesNotContain('\n', description.ToJson());
        Assert.Equal(network.parameters().Sum(p => (double)p.numel()), description.Parameters);
    }

    [Fact]
    public void Of_IsNullWhereThereIsNoDescription()
    {
        using var own = nn.Linear(2, 2);
        Assert.Null(NetworkDescription.Of(own));
        using var network = new ResNet(new ResNetOptions { Planes = 2, Size = NetworkSize.Parse("custom-basic:2+3+1+1") });
        Assert.NotNull(NetworkDescription.Of(network));
        network.Stages[1]!.Options = network.Stages[1]!.Options with { StepSize = 0.1 };
        Assert.Null(NetworkDescription.Of(network));
        network.Stages[0]!.Options = network.Stages[0]!.Options with { StepSize = 0.1 };
        Assert.Equal(0.1, NetworkDescription.Of(network)!.StepSize);
        Assert.Throws<ArgumentNullException>(() => NetworkDescription.Of(null!));
    }

    /// <summary>A training leaves what its network was given: read back by who continues it too.</summary>
    [Fact]
    public void Trainer_DescribesTheImages()
    {
        var images = new InMemoryImages("four", new byte[4 * 3 * 32 * 32], [0, 1, 0, 1], 3, 32, 32, 2, ["cat", "dog"]);
        BatchLoader Loader(long? seed) => new(images, Augmentation.Cifar, 2, seed);
        using var model = new TinyResNet(new TinyResNetOptions { Depth = 2, Planes = 2, Classes = 2 });
        var (path, again) = (Path.Combine(folder, "a.bin"), Path.Combine(folder, "b.bin"));
        using (var trainer = new Trainer(model, new TrainingOptions { Epochs = 1, LearningRate = 1e-3 }))
        {
            trainer.Run(Loader(1), Loader(null), _ => { });
            trainer.Save(path);
        }

        using (var trainer = new Trainer(model, new TrainingOptions { Epochs = 1, LearningRate = 1e-3 }))
        {
            trainer.Resume(path);
            trainer.Save(again);
        }

        foreach (var file in (string[])[path, again])
        {
            var description = Checkpoint.Describe(file)!;
            Assert.Equal(InputDescription.Of(Augmentation.Cifar), description.Input);
            Assert.Equal(["cat", "dog"], description.ClassNames!);
        }

        using var other = new TinyResNet(new TinyResNetOptions { Depth = 2, Planes = 2, Classes = 2, InputChannels = 1 });
        var error = Assert.Throws<ArgumentException>(() => Checkpoint.Save(again, other, Checkpoint.Describe(path)!));
        Assert.Contains("its number of input channels is 3, here 1", error.Message);
        Checkpoint.Save(again, model, Checkpoint.Describe(path)!);
        Assert.Equal(Checkpoint.Describe(path), Checkpoint.Describe(again));
    }

    /// <summary>Weights whose names and shapes fit may still be those of another network.</summary>
    [Fact]
    public void Load_TellsWhatDiffers()
    {
        var path = Path.Combine(folder, "c.bin");
        var options = new ResNetOptions { Planes = 2, Size = NetworkSize.Parse("18"), Kind = ResNetKind.Ordinary };
        using var ordinary = new ResNet(options);
        Checkpoint.Save(path, ordinary, null, []);
        Refused(options with { Kind = ResNetKind.Ode }, "its kind is ordinary, here ode");
        Refused(options with { Planes = 3 }, "its number of planes is 2, here 3");
        Refused(options with { Size = NetworkSize.Parse("34") }, "its size is 18, here 34");
        Refused(options with { Classes = 4 }, "its number of classes is 10, here 4");
        Refused(options with { ImageNetStem = true }, "its stem is that for small images, here that for ImageNet");
        using var same = new ResNet(options with { Size = NetworkSize.Auto(2), Stage = Heun with { Solver = Solver.Midpoint } });
        Checkpoint.Load(path, same, null);

        void Refused(ResNetOptions other, string difference)
        {
            using var network = new ResNet(other);
            var before = network.state_dict().Values.Select(t => t.bytes.ToArray()).ToList();
            var error = Assert.Throws<ResNetNodesException>(() => Checkpoint.Load(path, network, null));
            Assert.Contains($"{path}: belongs to another network ({difference})", error.Message);
            Assert.Equal(before, network.state_dict().Values.Select(t => t.bytes.ToArray()));
        }
    }

    [Fact]
    public void LoadNetwork_WithoutDescription_SaysWhatToDo()
    {
        var path = Path.Combine(folder, "c.bin");
        using var own = nn.Linear(2, 2);
        Checkpoint.Save(path, own, null, []);
        Assert.Null(Checkpoint.Describe(path));
        var error = Assert.Throws<ResNetNodesException>(() => Checkpoint.LoadNetwork(path));
        Assert.Contains("does not say which network it holds", error.Message);
        Assert.Throws<ArgumentException>(() => Checkpoint.Save(path, own, Right()));
        Assert.Contains("c.bin", Assert.Throws<ResNetNodesException>(() => Checkpoint.Describe(path + ".not/c.bin")).Message);
    }

    public static TheoryData<string, string, string> Wrong() => new()
    {
        { "Kind", "\"large\"", "'large'" },
        { "Kind", "\"ode\"", "'ode' of 2 depth and no size" },
        { "Kind", "null", "can't be read" },
        { "Depth", "null", "no depth" },
        { "Depth", "0", "a depth of 0" },
        { "Depth", "2147483647", "a depth of 2147483647" },
        { "Size", "\"18\"", "2 depth and 18 size" },
        { "Planes", "-1", "-1 planes" },
        { "Planes", "100000", "100000 planes" },
        { "Planes", "3000", "parameters, and it holds" },
        { "Classes", "0", "0 classes" },
        { "InputChannels", "0", "0 channels" },
        { "AdjointFrom", "0", "an adjoint from 0" },
        { "Solver", "\"rk4\"", "solver 'rk4' is unknown" },
        { "Solver", "null", "can't be read" },
        { "Reconstruction", "\"magic\"", "reconstruction 'magic' is unknown" },
        { "StepSize", "-1", "StepSize is -1" },
        { "ComputeType", "\"int8\"", "compute type 'int8' is unknown" },
        { "Type", "\"Int64\"", "number type 'Int64' is none of parameters" },
        { "ClassNames", "[\"a\"]", "1 names for 10 classes" },
        { "ClassNames", "[null,\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]", "10 names for 10 classes" },
        { "Input", """{"Pixels": 0, "Channels": 3, "Resize": null, "Mean": [0, 0, 0], "Deviation": [1, 1, 1]}""", "0 pixels" },
        { "Input", """{"Pixels": 32, "Channels": 3, "Resize": 1, "Mean": [0, 0, 0], "Deviation": [1, 1, 1]}""", "resized to 1 pixels" },
        { "Input", """{"Pixels": 2, "Channels": 1, "Resize": null, "Mean": [0], "Deviation": [1]}""", "1 channels for 3" },
        { "Input", """{"Pixels": 2, "Channels": 3, "Resize": null, "Mean": null, "Deviation": [1]}""", "can't be read" },
        { "Other", "1", "can't be read" },
    };

    /// <summary>Whoever changes a header seals it anew: what stands in it is checked, before anything is built.</summary>
    [Theory]
    [MemberData(nameof(Wrong))]
    public void LoadNetwork_RefusesAWrongDescription(string property, string value, string message)
    {
        var path = Path.Combine(folder, "c.bin");
        using (var model = new TinyResNet(new TinyResNetOptions { Depth = 2, Planes = 2 }))
        {
            Checkpoint.Save(path, model, null, []);
        }

        Rewrite(path, header => header["Network"]![property] = JsonNode.Parse(value));
        foreach (var read in (Action[])[() => Checkpoint.LoadNetwork(path), () => Checkpoint.Describe(path)])
        {
            var error = Assert.Throws<ResNetNodesException>(read);
            Assert.StartsWith($"{path}: is damaged (", error.Message);
            Assert.Contains(message, error.Message);
            Assert.DoesNotContain('\n', error.Message);
        }

        var json = JsonNode.Parse(Right().ToJson())!.AsObject();
        json[property] = JsonNode.Parse(value);
        if (property != "Planes" || value != "3000")
        {
            Assert.Contains(message, Assert.Throws<ArgumentException>(() => NetworkDescription.Parse(json.ToJsonString())).Message);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"Kind\": \"tiny\"}")]
    public void Parse_RefusesWhatIsNone(string json) => Assert.Throws<ArgumentException>(() => NetworkDescription.Parse(json));

    /// <summary>A step of Heun needs two functions: nothing that can be built.</summary>
    [Fact]
    public void LoadNetwork_RefusesWhatCantBeBuilt()
    {
        var path = Path.Combine(folder, "c.bin");
        using (var model = new TinyResNet(new TinyResNetOptions { Depth = 1, Planes = 2 }))
        {
            Checkpoint.Save(path, model, null, []);
        }

        Rewrite(path, header => header["Network"]!["Solver"] = "heun");
        Assert.Contains("is damaged (", Assert.Throws<ResNetNodesException>(() => Checkpoint.LoadNetwork(path)).Message);
        Assert.Throws<ArgumentException>(() => (Right() with { Planes = 0 }).Build());
    }

    private static NetworkDescription Right()
    {
        using var model = new TinyResNet(new TinyResNetOptions { Depth = 2, Planes = 2 });
        return NetworkDescription.Of(model)!;
    }

    private static nn.Module<Tensor, Tensor> Make(string name)
    {
        var staged = new ResNetOptions
        {
            Planes = 2,
            Size = NetworkSize.Parse("custom-basic:2+3+1+2"),
            Classes = 5,
            ZeroInitResidual = true,
        };
        return name switch
        {
            "tiny" => new TinyResNet(new TinyResNetOptions { Depth = 3, Planes = 4, ZeroInit = false }),
            "tiny of heun" => new TinyResNet(new TinyResNetOptions { Depth = 3, Planes = 4, Stage = Heun, Classes = 3 }),
            "tiny of one channel" => new TinyResNet(new TinyResNetOptions { Depth = 1, Planes = 1, InputChannels = 1 }),
            "tiny in float64" => new TinyResNet(new TinyResNetOptions { Depth = 2, Planes = 2 }).to(ScalarType.Float64),
            "bottleneck" => new ResNet(staged with { Size = NetworkSize.Parse("auto:3"), AdjointFrom = 2 }),
            "large stem" => new ResNet(staged with { ImageNetStem = true }),
            "blocks alone" => new ResNet(staged with { Size = NetworkSize.Auto(1) }),
            "mixed precision" => new ResNet(staged with { Stage = new StageOptions { ComputeType = ComputeType.BFloat16 } }),
            _ => new ResNet(staged with { Kind = Enum.Parse<ResNetKind>(name) }),
        };
    }

    private static void Rewrite(string path, Action<JsonObject> change)
    {
        var file = File.ReadAllBytes(path);
        var start = Array.IndexOf(file, (byte)'\n') + 1;
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(start));
        var first = start + sizeof(long);
        var node = JsonNode.Parse(file[first..(first + length)])!.AsObject();
        change(node);
        var header = Encoding.UTF8.GetBytes(node.ToJsonString());
        var number = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(number, header.Length);
        byte[] body = [.. file[..start], .. number, .. header, .. file[(first + length)..^SHA256.HashSizeInBytes]];
        File.WriteAllBytes(path, [.. body, .. SHA256.HashData(body)]);
    }
}
