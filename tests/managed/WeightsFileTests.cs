using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using ResNetNodes.Weights;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.PyBridge;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class WeightsFileTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("weights").FullName;

    public static TheoryData<string> Endings => [".safetensors", ".pth", ".pt", ".SafeTensors"];

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [MemberData(nameof(Endings))]
    public void Load_IsTheInverseOfSave(string ending)
    {
        using var source = Network(1);
        using var target = Network(2);
        var path = Path.Combine(folder, "w" + ending);
        var metadata = new Dictionary<string, string> { ["network"] = "tiny", ["ü\n\"\\"] = "π 🙂" };
        WeightsFile.Save(path, source, metadata: metadata);
        Assert.Equal(metadata, WeightsFile.Load(path, target));
        Assert.Equal(metadata, WeightsFile.ReadMetadata(path));
        Assert.Equal(Bits(source), Bits(target));
        Assert.True(WeightsFile.IsWeightsFile(path));
        // The same network, the same bytes; and nothing is left beside them.
        var bytes = File.ReadAllBytes(path);
        WeightsFile.Save(path, target, metadata: metadata);
        Assert.Equal(bytes, File.ReadAllBytes(path));
        Assert.Single(Directory.GetFiles(folder));
    }

    /// <summary>Every type, values that are no numbers, no dimension, no value, any layout.</summary>
    [Theory]
    [MemberData(nameof(Endings))]
    public void Load_KeepsTheBitsOfEveryTypeAndLayout(string ending)
    {
        using var scope = NewDisposeScope();
        var path = Path.Combine(folder, "w" + ending);
        ScalarType[] types =
        [
            ScalarType.Bool, ScalarType.Byte, ScalarType.Int8, ScalarType.Int16, ScalarType.Int32, ScalarType.Int64, ScalarType.Float16,
            ScalarType.BFloat16, ScalarType.Float32, ScalarType.Float64,
        ];
        var values = types.ToDictionary(type => type.ToString(), type => randn(3, 2).mul(50).to(type));
        values["none"] = empty(0, 3);
        values["scalar"] = tensor(1L << 40);
        values["odd"] = tensor(new[] { float.NaN, float.PositiveInfinity, -0f, float.Epsilon });
        values["last"] = randn(2, 5, 3, 4).permute(0, 3, 1, 2);
        values["part"] = arange(20).narrow(0, 5, 7);
        values["columns"] = randn(4, 6).t();
        using var source = new Bag(values);
        using var target = new Bag(values.ToDictionary(v => v.Key, v => zeros_like(v.Value)));
        WeightsFile.Save(path, source);
        WeightsFile.Load(path, target);
        Assert.Equal(Bits(source), Bits(target));
    }

    /// <summary>By a reader that is a dozen lines of the format's specification.</summary>
    [Fact]
    public void Save_WritesSafetensorsByTheirSpecification()
    {
        using var network = Network(1);
        var path = Path.Combine(folder, "w.safetensors");
        WeightsFile.Save(path, network, metadata: new Dictionary<string, string> { ["a"] = "b" });
        var bytes = File.ReadAllBytes(path);
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        using var header = JsonDocument.Parse(bytes.AsMemory(8, length));
        Assert.Equal("b", header.RootElement.GetProperty("__metadata__").GetProperty("a").GetString());
        Assert.Equal(0, length % 8);
        var own = network.state_dict();
        var names = header.RootElement.EnumerateObject().Select(p => p.Name).Where(name => name != "__metadata__").ToList();
        Assert.Equal(own.Keys.Order(StringComparer.Ordinal), names.Order(StringComparer.Ordinal));
        var end = 0L;
        foreach (var name in names)
        {
            var entry = header.RootElement.GetProperty(name);
            var (dtype, width) = own[name].dtype == ScalarType.Int64 ? ("I64", 8) : ("F32", 4);
            Assert.Equal(dtype, entry.GetProperty("dtype").GetString());
            Assert.Equal(own[name].shape, entry.GetProperty("shape").EnumerateArray().Select(n => n.GetInt64()));
            var offsets = entry.GetProperty("data_offsets").EnumerateArray().Select(n => n.GetInt64()).ToArray();
            Assert.Equal(end, offsets[0]);
            Assert.Equal(own[name].NumberOfElements * width, offsets[1] - offsets[0]);
            Assert.Equal(0, offsets[0] % width);
            Assert.Equal(own[name].contiguous().bytes.ToArray(), bytes[(8 + length + (int)offsets[0])..(8 + length + (int)offsets[1])]);
            end = offsets[1];
        }

        Assert.Equal(bytes.Length, 8 + length + end);
    }

    /// <summary>As another writer may order and space it; numbers made here by hand.</summary>
    [Fact]
    public void Load_ReadsSafetensorsMadeByHand()
    {
        using var linear = nn.Linear(2, 1);
        var path = Path.Combine(folder, "w.safetensors");
        File.WriteAllBytes(path, Safetensors(
            """
            {"bias" : {"data_offsets":[8,12],"shape":[1],"dtype":"F32"},
             "weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}
            """ + "   ",
            [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f]));
        Assert.Empty(WeightsFile.Load(path, linear));
        Assert.Equal([1f, -2f], linear.weight!.data<float>().ToArray());
        Assert.Equal([0.5f], linear.bias!.data<float>().ToArray());
    }

    [Theory]
    [InlineData(".pth")]
    [InlineData(".safetensors")]
    public void Files_AreThoseOfAnotherLibrary(string ending)
    {
        using var ours = Network(1);
        using var theirs = Network(2);
        var path = Path.Combine(folder, "w" + ending);
        WeightsFile.Save(path, ours);
        _ = ending == ".pth" ? theirs.load_py(path) : theirs.load_safetensors(path);
        Assert.Equal(Bits(ours), Bits(theirs));
        using var again = Network(3);
        _ = ending == ".pth" ? theirs.save_py(path) : theirs.save_safetensors(path);
        WeightsFile.Load(path, again);
        Assert.Equal(Bits(ours), Bits(again));
    }

    [Fact]
    public void Load_TakesACheckpoint()
    {
        using var source = Network(1);
        using var target = Network(2);
        var path = Path.Combine(folder, "checkpoint.bin");
        Checkpoint.Save(path, source, null, []);
        Assert.Empty(WeightsFile.Load(path, target));
        Assert.Empty(WeightsFile.ReadMetadata(path));
        Assert.Equal(Bits(source), Bits(target));
        Assert.False(WeightsFile.IsWeightsFile(path));
        Assert.Throws<ArgumentException>(() => WeightsFile.Load(path, target, WeightNames.Torchvision));
        Assert.Throws<ArgumentException>(() => WeightsFile.Load(path, target, except: ["head"]));
    }

    [Theory]
    [MemberData(nameof(Endings))]
    public void Load_LeavesOutWhatIsExcepted(string ending)
    {
        using var source = Network(1);
        using var target = new TinyResNet(new TinyResNetOptions { Depth = 2, Planes = 4, Classes = 3, Seed = 2 });
        var path = Path.Combine(folder, "w" + ending);
        WeightsFile.Save(path, source);
        var head = target.state_dict()["head.weight"].clone();
        Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, target));
        Assert.Throws<ArgumentException>(() => WeightsFile.Load(path, target, except: ["hea"]));
        WeightsFile.Load(path, target, except: ["head"]);
        Assert.Equal(head.bytes.ToArray(), target.state_dict()["head.weight"].bytes.ToArray());
        Assert.Equal(
            source.state_dict().Where(t => !t.Key.StartsWith("head", StringComparison.Ordinal)).SelectMany(t => t.Value.bytes.ToArray()),
            target.state_dict().Where(t => !t.Key.StartsWith("head", StringComparison.Ordinal)).SelectMany(t => t.Value.bytes.ToArray()));
    }

    /// <summary>One tensor by two names: one value in the file, or twice the same.</summary>
    [Theory]
    [MemberData(nameof(Endings))]
    public void Load_OfSharedTensorsAsksForOneValue(string ending)
    {
        using var one = nn.Linear(2, 2);
        using var tied = nn.Sequential(("a", one), ("b", one));
        using var other = nn.Linear(2, 2);
        using var separate = nn.Sequential(("a", other), ("b", nn.Linear(2, 2)));
        using var alone = nn.Sequential(("b", other));
        var path = Path.Combine(folder, "w" + ending);
        WeightsFile.Save(path, separate);
        var before = Bits(tied);
        Assert.Contains("a.weight and b.weight", Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, tied)).Message);
        Assert.Equal(before, Bits(tied));
        WeightsFile.Save(path, alone);
        WeightsFile.Load(path, tied);
        Assert.Equal(other.weight!.bytes.ToArray(), one.weight!.bytes.ToArray());
        WeightsFile.Save(path, tied);
        WeightsFile.Load(path, separate);
        Assert.Equal([.. Bits(one), .. Bits(one)], Bits(separate));
    }

    /// <summary>Counters of batches are younger than batch normalization: PyTorch reads files without them too.</summary>
    [Fact]
    public void Load_BeginsCountersAnewThatTheFileLacks()
    {
        using var norm = nn.BatchNorm2d(3);
        using var bare = new Bag(norm.state_dict().Where(t => t.Key != "num_batches_tracked").ToDictionary(t => t.Key, t => t.Value + 1));
        var path = Path.Combine(folder, "w.pth");
        WeightsFile.Save(path, bare);
        using (var given = norm.forward(randn(2, 3, 4, 4)))
        {
            Assert.Equal(1, norm.num_batches_tracked!.item<long>());
        }

        using var wrapped = nn.Sequential(("n", norm));
        using var wrappedBare = nn.Sequential(("n", (nn.Module<Tensor, Tensor>)bare));
        WeightsFile.Save(path, wrappedBare);
        WeightsFile.Load(path, wrapped);
        Assert.Equal(0, norm.num_batches_tracked!.item<long>());
    }

    [Fact]
    public void Save_RefusesWhatItCantWrite()
    {
        using var network = Network(1);
        Assert.Throws<ArgumentException>(() => WeightsFile.Save(Path.Combine(folder, "w.bin"), network));
        Assert.Throws<ArgumentException>(() => WeightsFile.Save(Path.Combine(folder, "w.pth"), network, WeightNames.Torchvision));
        Assert.Throws<ResNetNodesException>(() => WeightsFile.Save(Path.Combine(folder, "none", "w.pth"), network));
        using var complex = new Bag(new Dictionary<string, Tensor> { ["c"] = zeros(2, ScalarType.ComplexFloat32) });
        Assert.Throws<ResNetNodesException>(() => WeightsFile.Save(Path.Combine(folder, "w.safetensors"), complex));
        Assert.Empty(Directory.GetFiles(folder));
    }

    internal static byte[] Safetensors(string header, byte[] values)
    {
        var bytes = new byte[8 + Encoding.UTF8.GetByteCount(header) + values.Length];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, bytes.Length - 8 - values.Length);
        Encoding.UTF8.GetBytes(header).CopyTo(bytes, 8);
        values.CopyTo(bytes, bytes.Length - values.Length);
        return bytes;
    }

    internal static TinyResNet Network(long seed) => new(new TinyResNetOptions { Depth = 2, Planes = 4, Seed = seed, ZeroInit = false });

    internal static byte[] Bits(nn.Module network) =>
        [.. network.state_dict().OrderBy(t => t.Key, StringComparer.Ordinal).SelectMany(t => t.Value.contiguous().bytes.ToArray())];

    /// <summary>Any tensors by name.</summary>
    private sealed class Bag : nn.Module<Tensor, Tensor>
    {
        public Bag(IReadOnlyDictionary<string, Tensor> tensors)
            : base(nameof(Bag))
        {
            foreach (var (name, tensor) in tensors)
            {
                register_buffer(name, tensor);
            }
        }

        public override Tensor forward(Tensor input) => input.alias();
    }
}
