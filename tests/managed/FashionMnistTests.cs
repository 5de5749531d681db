using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class FashionMnistTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("fashion").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Load_ReadsTheExactFormat()
    {
        Write("train-images-idx3-ubyte.gz", Images(5));
        Write("train-labels-idx1-ubyte.gz", Labels([0, 1, 2, 9, 4]));
        var data = FashionMnist.Load(folder, train: true);
        Assert.Equal((5, 10), (data.Count, data.Classes));
        Assert.Equal([0, 1, 2, 9, 4], Enumerable.Range(0, 5).Select(data.Label));
        Assert.Equal("Ankle boot", data.ClassNames![9]);
        var image = data.Read(3)!.Value;
        Assert.Equal((1, 28, 28, 784), (image.Channels, image.Height, image.Width, image.Values.Length));
        Assert.Equal(unchecked((byte)((28 * 28 * 3) + 7)), image.Values.Span[7]);
        Assert.Equal([0, 1], Enumerable.Range(0, 2).Select(data.Take(2).Label));
    }

    [Theory]
    [InlineData("missing", "not found")]
    [InlineData("empty", "truncated after 5 bytes of its header")]
    [InlineData("nothing", "is not a complete gzip file (it is empty)")]
    [InlineData("truncated", "truncated after 1,000 of 3,920 bytes; download it again")]
    [InlineData("magic", "starts with 0x00000801, expected 0x00000803")]
    [InlineData("plain", "not a complete gzip file")]
    [InlineData("cut", "download it again")]
    [InlineData("longer", "goes on after 3,920 bytes")]
    [InlineData("labels", "holds 4 labels for 5 images")]
    [InlineData("foreign", "holds label 77")]
    public void Load_NamesABadFile(string damage, string message)
    {
        var images = Images(5);
        var labels = damage switch
        {
            "labels" => Labels([0, 1, 2, 3]),
            "foreign" => Labels([0, 1, 77, 3, 4]),
            _ => Labels([0, 1, 2, 3, 4])
        };
        const string name = "train-images-idx3-ubyte.gz";
        switch (damage)
        {
            case "missing":
                break;
            case "plain":
                File.WriteAllBytes(Path.Combine(folder, name), images);
                break;
            case "cut":
                Write(name, images);
                var whole = File.ReadAllBytes(Path.Combine(folder, name));
                File.WriteAllBytes(Path.Combine(folder, name), whole[..(whole.Length / 2)]);
                break;
            default:
                Write(name, damage switch
                {
                    "empty" => images[..5],
                    "nothing" => [],
                    "truncated" => images[..1016],
                    "magic" => [0, 0, 8, 1, .. images[4..]],
                    "longer" => [.. images, 1],
                    _ => images
                });
                break;
        }

        Write("train-labels-idx1-ubyte.gz", labels);
        var error = Assert.Throws<ResNetNodesException>(() => FashionMnist.Load(folder, train: true));
        Assert.Contains(message, error.Message);
        Assert.Contains("-ubyte.gz", error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    /// <summary>Through a link too, the files of Debian's package are such.</summary>
    [Fact]
    public void Load_RefusesWhatIsNoFileAtOnce() => Assert.All(TestFiles.NoFiles, kind =>
    {
        var path = Path.Combine(folder, "train-images-idx3-ubyte.gz");
        TestFiles.Put(kind, path);
        var error = Assert.Throws<ResNetNodesException>(() => TestFiles.InTime(() => FashionMnist.Load(folder, train: true)));
        Assert.StartsWith($"{path}: can't be read: it is a", error.Message);
        TestFiles.Remove(path);
    });

    [Fact]
    public void Load_RefusesAFileWithoutTheEndOfItsChecksum()
    {
        const string name = "train-images-idx3-ubyte.gz";
        Write("train-labels-idx1-ubyte.gz", Labels([0, 1, 2, 3, 4]));
        Write(name, Images(5));
        var whole = File.ReadAllBytes(Path.Combine(folder, name));
        for (var cut = 1; cut <= 9; cut++)
        {
            File.WriteAllBytes(Path.Combine(folder, name), whole[..^cut]);
            var error = Assert.Throws<ResNetNodesException>(() => FashionMnist.Load(folder, train: true));
            Assert.Equal(
                $"{Path.Combine(folder, name)}: is not a complete gzip file (it is cut or damaged, or something follows it); "
                + "download it again",
                error.Message);
        }
    }

    [Fact]
    public void Load_RefusesSizesThatMakeNoSense()
    {
        foreach (
            var sizes in new byte[][]
            {
                [0, 0x80, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28], [0, 0, 0, 5, 0x80, 0, 0, 28, 0, 0, 0, 28],
                [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 28], [0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]
            })
        {
            Write("train-images-idx3-ubyte.gz", [0, 0, 8, 3, .. sizes]);
            Assert.Contains("states size", Assert.Throws<ResNetNodesException>(() => FashionMnist.Load(folder, train: true)).Message);
        }
    }

    private static byte[] Images(int count) =>
        [0, 0, 8, 3, 0, 0, 0, (byte)count, 0, 0, 0, 28, 0, 0, 0, 28, .. Enumerable.Range(0, count * 784).Select(i => (byte)i)];

    private static byte[] Labels(byte[] labels) => [0, 0, 8, 1, 0, 0, 0, (byte)labels.Length, .. labels];

    private void Write(string name, byte[] content) => TestFiles.Gzip(Path.Combine(folder, name), content);
}
