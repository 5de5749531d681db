using System.IO.Compression;
using System.Text;
using ResNetNodes.Weights;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Files that can't be read or don't fit: one line that says so, and the network as it was.</summary>
public sealed class WeightsErrorsTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("weights").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>Each header beside 12 bytes of values; a linear layer wants weight [1, 2] and bias [1].</summary>
    [Theory]
    [InlineData("""{"weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}""", "tells of 8 bytes of values, and 12 follow")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}""", "tells of 16 bytes of values, and 12 follow")]
    [InlineData(
        """{"weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"bias":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""",
        "bias begins at byte 4, inside")]
    [InlineData(
        """{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}""",
        "bias begins at byte 8, behind a gap")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", "can't be Float32 [3] in bytes 0 to 8")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[-3],"data_offsets":[0,12]}}""", "can't be Float32 [-3]")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}""", "can't be Float32")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[3],"data_offsets":[-12,0]}}""", "data_offsets -12, 0")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[3],"data_offsets":[12]}}""", "data_offsets 12")]
    [InlineData("""{"weight":{"dtype":"F8_E5M2","shape":[12],"data_offsets":[0,12]}}""", "of type F8_E5M2, expected one of BOOL")]
    [InlineData("""{"weight":{"shape":[12],"data_offsets":[0,12]}}""", "has data_offsets, shape, expected")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[1.5],"data_offsets":[0,12]}}""", "is damaged")]
    [InlineData("""{"weight":{"dtype":"F32","shape":3,"data_offsets":[0,12]}}""", "is damaged")]
    [InlineData("""{"weight":[]}""", "is damaged")]
    [InlineData("""{"__metadata__":{"a":1}}""", "is damaged")]
    [InlineData("""{"__metadata__":7}""", "is damaged")]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"a":{}}""", "a twice")]
    [InlineData("""{"weight":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}""", "is damaged")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""", "is damaged")]
    [InlineData("""{}""", "tells of 0 bytes of values, and 12 follow")]
    public void Safetensors_ThatContradictThemselves(string header, string what) =>
        Refuses("w.safetensors", WeightsFileTests.Safetensors(header, new byte[12]), what);

    [Theory]
    [InlineData("", "is no file of weights")]
    [InlineData("a text", "is no file of weights")]
    [InlineData("PK\u0003\u0004 and no zip archive", "is damaged")]
    [InlineData("<!DOCTYPE html><html><body>404: not found</body></html>", "is no file of weights")]
    [InlineData("version https://git-lfs.github.com/spec/v1", "is no file of weights")]
    public void Files_OfAnotherFormat(string content, string what) => Refuses("w.pth", Encoding.Latin1.GetBytes(content), what);

    /// <summary>Cut anywhere, or with a byte changed: refused, or read as a whole network where only values changed.</summary>
    [Theory]
    [InlineData(".safetensors")]
    [InlineData(".pth")]
    public void Files_ThatAreCutOrChanged(string ending)
    {
        using var network = WeightsFileTests.Network(1);
        var path = Path.Combine(folder, "w" + ending);
        WeightsFile.Save(path, network);
        var bytes = File.ReadAllBytes(path);
        var draw = new Random(1);
        using var target = WeightsFileTests.Network(2);
        var before = WeightsFileTests.Bits(target);
        for (var trial = 0; trial < 60; trial++)
        {
            var changed = bytes[..(trial % 2 == 0 ? draw.Next(bytes.Length) : bytes.Length)];
            if (trial % 2 == 1)
            {
                changed[draw.Next(Math.Min(changed.Length, 3000))] ^= (byte)(1 << draw.Next(8));
            }

            File.WriteAllBytes(path, changed);
            try
            {
                WeightsFile.Load(path, target);
                Assert.Equal(1, trial % 2);
                File.WriteAllBytes(path, bytes);
                WeightsFile.Save(path, target);
                before = WeightsFileTests.Bits(target);
            }
            catch (ResNetNodesException exception)
            {
                Assert.DoesNotContain('\n', exception.Message);
                Assert.StartsWith(path, exception.Message, StringComparison.Ordinal);
                Assert.Equal(before, WeightsFileTests.Bits(target));
            }
        }
    }

    /// <summary>Pickles that name what runs something, or what is no tensor. Written here opcode by opcode; nothing runs.</summary>
    [Theory]
    [InlineData("cos\nsystem\n(X\u0007\0\0\0touch ptR.", "asks for os.system, which is no part of a tensor and could run anything")]
    [InlineData("cbuiltins\neval\n(X\u0001\0\0\01tR.", "asks for builtins.eval")]
    [InlineData("X\u0002\0\0\0osX\u0006\0\0\0system\u0093(tR.", "asks for os.system")]
    [InlineData("ctorch\nload\n(tR.", "asks for torch.load")]
    [InlineData("ctorch._utils\n_rebuild_sparse_tensor\n(tR.", "asks for torch._utils._rebuild_sparse_tensor")]
    [InlineData("ctorch\nFloatStorage\n(tR.", "is damaged (torch.FloatStorage has arguments")]
    [InlineData("(ios\nsystem\n.", "has the instruction 0x69")]
    [InlineData("(X\u0001\0\0\0aX\u0001\0\0\0bd.", "where tensors by name are expected")]
    [InlineData("]q\0h\0a.", "holds one value where tensors by name are expected")]
    [InlineData("K\u0001.", "holds one value")]
    [InlineData("}.", "it has no weight, here Float32 [1, 2]")]
    [InlineData("X\u00ff\u00ff\u00ff\u00ffabc.", "its pickle ends too early")]
    [InlineData("(((.", "takes what is not there")]
    [InlineData("h\0.", "recalls what it has not kept")]
    [InlineData("\u008a\u0009123456789.", "more than 8 bytes")]
    [InlineData("ctorch._utils\n_rebuild_tensor_v2\n(tR.", "arguments that it does not take")]
    [InlineData("K\u0001Q.", "tells of no storage")]
    [InlineData("(K\u0001tQ.", "tells of a storage that is none")]
    public void Pickles_OfAnythingElse(string pickle, string what) => Refuses("w.pth", Zip(("archive/data.pkl", pickle)), what);

    /// <summary>A tensor [1, 2] of a storage of so many floats, as the file has it and as the pickle tells.</summary>
    [Theory]
    [InlineData(2, 2, 0, 1, "it has no bias, here Float32 [1]")]
    [InlineData(1, 2, 0, 1, "weight, Float32 [1, 2], does not fit into its storage")]
    [InlineData(1, 1, 0, 1, "does not fit into its storage")]
    [InlineData(2, 2, 1, 1, "does not fit into its storage")]
    [InlineData(2, 2, 0, 2, "does not fit into its storage")]
    [InlineData(0, 2, 0, 1, "does not fit into its storage")]
    public void Views_OutsideOfTheirStorage(int stored, int told, int offset, int stride, string what)
    {
        var pickle = "}X\u0006\0\0\0weightctorch._utils\n_rebuild_tensor_v2\n((X\u0007\0\0\0storagectorch\nFloatStorage\n"
            + $"X\u0001\0\0\00X\u0003\0\0\0cpuK{(char)told}tQK{(char)offset}K\u0001K\u0002\u0086K\u0002K{(char)stride}\u0086\u0089}}tRs.";
        Refuses("w.pth", Zip(("archive/data.pkl", pickle), ("archive/data/0", new string('\0', 4 * stored))), what);
    }

    [Theory]
    [InlineData("constants.pkl", "is a program of TorchScript")]
    [InlineData("byteorder", "its numbers are big-endian")]
    public void Archives_OfAnotherKind(string record, string what) =>
        Refuses("w.pth", Zip(("archive/data.pkl", "}."), ($"archive/{record}", "big")), what);

    [Fact]
    public void Archives_WithoutAPickle() => Refuses("w.pth", Zip(("a.txt", "text")), "is a zip archive without data.pkl");

    /// <summary>Names and shapes of the first three, and how many more.</summary>
    [Theory]
    [InlineData(".safetensors")]
    [InlineData(".pth")]
    public void Networks_ThatDoNotFit(string ending)
    {
        using var scope = NewDisposeScope();
        var path = Path.Combine(folder, "w" + ending);
        using var other = nn.Sequential(("a", nn.Linear(2, 3)), ("b", nn.Linear(3, 1)), ("d", nn.BatchNorm2d(2)));
        WeightsFile.Save(path, other);
        using var network = nn.Sequential(("a", nn.Linear(3, 2)), ("b", nn.Linear(3, 1)), ("c", nn.Linear(1, 1)));
        network.get_parameter("b.weight")!.requires_grad = false;
        var before = WeightsFileTests.Bits(network);
        var message = Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, network)).Message;
        Assert.Equal(
            $"{path}: does not fit the network: its a.weight is Float32 [3, 2], here Float32 [2, 3]; its a.bias is Float32 [3], "
            + "here Float32 [2]; it has no c.weight, here Float32 [1, 1]; and 6 more. Nothing was changed",
            message);
        using var narrow = nn.Sequential(("a", nn.Linear(3, 2)), ("b", nn.Linear(3, 1)), ("c", nn.Linear(1, 1))).to(ScalarType.BFloat16);
        WeightsFile.Save(path, narrow);
        Assert.Contains(
            "its a.weight is BFloat16 [2, 3], here Float32 [2, 3]",
            Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, network)).Message, StringComparison.Ordinal);
        // No broadcasting.
        using var thin = nn.Sequential(("a", nn.Linear(1, 2)), ("b", nn.Linear(3, 1)), ("c", nn.Linear(1, 1)));
        WeightsFile.Save(path, thin);
        Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, network));
        Assert.Equal(before, WeightsFileTests.Bits(network));
    }

    [Fact]
    public void Paths_WithoutAFile()
    {
        using var network = nn.Linear(2, 1);
        foreach (var kind in TestFiles.NoFiles)
        {
            var path = Path.Combine(folder, kind);
            TestFiles.Put(kind, path);
            var error = TestFiles.InTime(() => Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, network)));
            Assert.Contains("can't be read", error.Message, StringComparison.Ordinal);
            TestFiles.Remove(path);
        }

        Assert.Throws<ResNetNodesException>(() => WeightsFile.ReadMetadata(Path.Combine(folder, "none.pth")));
    }

    private static byte[] Zip(params (string Name, string Content)[] records)
    {
        using var stream = new MemoryStream();
        using (var archive = new ZipArchive(stream, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var (name, content) in records)
            {
                using var record = archive.CreateEntry(name, CompressionLevel.NoCompression).Open();
                record.Write(Encoding.Latin1.GetBytes(content));
            }
        }

        return stream.ToArray();
    }

    private void Refuses(string name, byte[] content, string what)
    {
        using var network = nn.Linear(2, 1);
        var before = WeightsFileTests.Bits(network);
        var path = Path.Combine(folder, name);
        File.WriteAllBytes(path, content);
        var message = Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, network)).Message;
        Assert.StartsWith($"{path}: ", message, StringComparison.Ordinal);
        Assert.Contains(what, message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', message);
        Assert.Equal(before, WeightsFileTests.Bits(network));
    }
}
