using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using ResNetNodes.Weights;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class NetworkFileTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("networks").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    public static TheoryData<string, ResNetKind, bool> Files()
    {
        var data = new TheoryData<string, ResNetKind, bool>();
        foreach (var ending in (string[])[".bin", ".safetensors", ".pth"])
        {
            data.Add(ending, ResNetKind.Ode, false);
            data.Add(ending, ResNetKind.Torchvision, ending != ".bin");
        }

        return data;
    }

    /// <summary>The network of the file computes what the saved one does, bit for bit, and knows its input and classes.</summary>
    [Theory]
    [MemberData(nameof(Files))]
    public void Load_IsTheInverseOfSave(string ending, ResNetKind kind, bool theirNames)
    {
        using var scope = NewDisposeScope();
        var path = Path.Combine(folder, "n" + ending);
        using var network = Make(kind);
        var description = NetworkDescription.Of(network)! with
        {
            Input = InputDescription.Of(Augmentation.Grey),
            ClassNames = ["a", "b", "é"],
        };
        NetworkFile.Save(path, network, description, theirNames ? WeightNames.Torchvision : null);
        Assert.Equal(description, NetworkFile.Describe(path));
        var (found, described) = NetworkFile.Load(path);
        Assert.Equal(description, described);
        using var into = Make(kind);
        NetworkFile.LoadInto(path, into);
        var x = Truth.Normal(1, 2, 3, 32, 32).to(ScalarType.Float32);
        using var guard = no_grad();
        foreach (var other in (nn.Module<Tensor, Tensor>[])[found, into])
        {
            network.eval();
            other.eval();
            Assert.Equal(network.call(x).bytes.ToArray(), other.call(x).bytes.ToArray());
        }

        found.Dispose();
    }

    [Theory]
    [InlineData(".bin")]
    [InlineData(".safetensors")]
    [InlineData(".pth")]
    public void LoadInto_RefusesAnotherNetwork(string ending)
    {
        var path = Path.Combine(folder, "n" + ending);
        using (var network = Make(ResNetKind.Ordinary))
        {
            NetworkFile.Save(path, network);
        }

        using var other = Make(ResNetKind.Ode);
        var before = other.state_dict().Values.Select(t => t.bytes.ToArray()).ToList();
        var error = Assert.Throws<ResNetNodesException>(() => NetworkFile.LoadInto(path, other));
        Assert.Contains($"{path}: belongs to another network (its kind is ordinary, here ode)", error.Message);
        Assert.Equal(before, other.state_dict().Values.Select(t => t.bytes.ToArray()));
    }

    [Fact]
    public void FilesOfOthers_HaveNoDescription()
    {
        var path = Path.Combine(folder, "n.safetensors");
        using var network = Make(ResNetKind.Ode);
        WeightsFile.Save(path, network);
        Assert.Null(NetworkFile.Describe(path));
        Assert.Contains("does not say which network it holds", Assert.Throws<ResNetNodesException>(() => NetworkFile.Load(path)).Message);
        using var same = Make(ResNetKind.Ode);
        NetworkFile.LoadInto(path, same);
        Assert.Equal(network.state_dict().Values.Select(Bytes), same.state_dict().Values.Select(Bytes));
        static byte[] Bytes(Tensor tensor) => tensor.bytes.ToArray();
    }

    /// <summary>A description is a text that anyone can write: it is checked before anything is built.</summary>
    [Theory]
    [InlineData("no json", "can't be read")]
    [InlineData("{}", "can't be read")]
    [InlineData("planes", "parameters, more than the file has bytes")]
    public void Load_RefusesAWrongDescription(string text, string message)
    {
        var path = Path.Combine(folder, "n.safetensors");
        using var network = Make(ResNetKind.Ode);
        text = text == "planes" ? (NetworkDescription.Of(network)! with { Planes = 60_000 }).ToJson() : text;
        WeightsFile.Save(path, network, null, new Dictionary<string, string> { ["resnet_nodes.network"] = text });
        foreach (var read in (Action[])[() => NetworkFile.Load(path), () => NetworkFile.Describe(path)])
        {
            var error = Assert.Throws<ResNetNodesException>(read);
            Assert.StartsWith($"{path}: ", error.Message);
            Assert.Contains(message, error.Message);
            Assert.DoesNotContain('\n', error.Message);
        }
    }

    [Fact]
    public void Save_RefusesWhatDoesNotFit()
    {
        var path = Path.Combine(folder, "n.safetensors");
        using var network = Make(ResNetKind.Ode);
        var own = NetworkDescription.Of(network)!;
        Assert.Contains(
            "its number of planes is 3, here 2",
            Assert.Throws<ArgumentException>(() => NetworkFile.Save(path, network, own with { Planes = 3 })).Message);
        Assert.Throws<ArgumentException>(() => NetworkFile.Save(path, network, own, WeightNames.Torchvision));
        Assert.Throws<ArgumentException>(() => NetworkFile.Save(Path.Combine(folder, "n.bin"), network, own, WeightNames.Torchvision));
        using var linear = nn.Linear(2, 2);
        Assert.Throws<ArgumentException>(() => NetworkFile.Save(path, linear));
        Assert.Empty(Directory.EnumerateFiles(folder));
    }

    private static ResNet Make(ResNetKind kind) =>
        new(new ResNetOptions { Kind = kind, Planes = 2, Classes = 3, Size = NetworkSize.Parse("custom-basic:2+1+2+1") });
}
