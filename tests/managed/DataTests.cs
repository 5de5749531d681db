using System.IO.Compression;
using ResNetNodes.Data;
using TorchSharp;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class DataTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("fashion").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void FashionMnist_ReadsTheExactFormat()
    {
        Write("train-images-idx3-ubyte.gz", Images(5));
        Write("train-labels-idx1-ubyte.gz", Labels([0, 1, 2, 9, 4]));
        var data = FashionMnist.Load(folder, train: true);
        Assert.Equal((5, 1, 28, 28), (data.Count, data.Channels, data.Height, data.Width));
        Assert.Equal([0, 1, 2, 9, 4], data.Labels);
        Assert.Equal(unchecked((byte)((28 * 28 * 3) + 7)), data.Images[(28 * 28 * 3) + 7]);
    }

    [Theory]
    [InlineData("missing", "not found")]
    [InlineData("empty", "truncated after 0 bytes of its header")]
    [InlineData("truncated", "truncated after 1,000 of 3,920 bytes; download it again")]
    [InlineData("magic", "starts with 0x00000801, expected 0x00000803")]
    [InlineData("plain", "not a whole gzip file")]
    [InlineData("cut", "download it again")]
    [InlineData("longer", "goes on after 3,920 bytes")]
    [InlineData("labels", "holds 4 labels for 5 images")]
    [InlineData("foreign", "holds label 77")]
    public void FashionMnist_NamesABadFile(string damage, string message)
    {
        var images = Images(5);
        var labels = damage switch { "labels" => Labels([0, 1, 2, 3]), "foreign" => Labels([0, 1, 77, 3, 4]), _ => Labels([0, 1, 2, 3, 4]) };
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
                Write(name, damage switch { "empty" => [], "truncated" => images[..1016], "magic" => [0, 0, 8, 1, .. images[4..]], "longer" => [.. images, 1], _ => images });
                break;
        }

        Write("train-labels-idx1-ubyte.gz", labels);
        var error = Assert.Throws<ResNetNodesException>(() => FashionMnist.Load(folder, train: true));
        Assert.Contains(message, error.Message);
        Assert.Contains("-ubyte.gz", error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Augmentation_MatchesASlowPlainVersion()
    {
        var data = SyntheticImages.Create(3, 1, size: 30);
        var augmentation = new Augmentation { CropPadding = 0, Flip = false };
        var target = new float[3 * 32 * 32];
        augmentation.Apply(data, 2, 1, 0, target);
        for (var c = 0; c < 3; c++)
        {
            for (var y = 0; y < 32; y++)
            {
                for (var x = 0; x < 32; x++)
                {
                    var inside = y is >= 1 and < 31 && x is >= 1 and < 31;
                    var value = inside ? data.Images[(((2 * 3) + c) * 900) + ((y - 1) * 30) + x - 1] / 255.0 : 0;
                    Assert.Equal((value - augmentation.Mean[c]) / augmentation.Deviation[c], target[(((c * 32) + y) * 32) + x], 1e-5);
                }
            }
        }
    }

    [Fact]
    public void Augmentation_ShiftsAndFlipsBySeedEpochAndImageAlone()
    {
        var data = SyntheticImages.Create(40, 1);
        var flipped = new Augmentation { CropPadding = 0 };
        var plain = flipped.WithoutRandomness();
        var (a, b) = (new float[3 * 1024], new float[3 * 1024]);
        var flips = 0;
        for (var i = 0; i < 40; i++)
        {
            flipped.Apply(data, i, 5, 2, a);
            plain.Apply(data, i, 5, 2, b);
            if (a[0] != b[0])
            {
                flips++;
                for (var row = 0; row < 96; row++)
                {
                    Array.Reverse(b, row * 32, 32);
                }
            }

            Assert.Equal(b, a);
        }

        Assert.InRange(flips, 8, 32);
        new Augmentation().Apply(data, 3, 5, 2, a);
        new Augmentation().Apply(data, 3, 5, 2, b);
        Assert.Equal(a, b);
    }

    [Fact]
    public void BatchLoader_GivesTheSameBatchesWithAnyNumberOfWorkers()
    {
        var data = SyntheticImages.Create(105, 1);
        List<float[]> Take(int workers, int epoch)
        {
            var list = new List<float[]>();
            foreach (var batch in new BatchLoader(data, new Augmentation(), 20, 7, workers).Epoch(epoch))
            {
                using (batch)
                {
                    list.Add([.. batch.Images.data<float>(), .. batch.Labels.data<long>().Select(l => (float)l)]);
                }
            }

            return list;
        }

        var one = Take(1, 0);
        Assert.Equal(6, one.Count);
        Assert.Equal(one, Take(3, 0));
        Assert.NotEqual(one, Take(1, 1));
    }

    [Fact]
    public void BatchLoader_BringsAWorkersExceptionAsItself()
    {
        var data = SyntheticImages.Create(20, 1, size: 40);
        Assert.Throws<ArgumentException>(() => new BatchLoader(data, new Augmentation(), 10, 1).Epoch(0).ToList());
    }

    [Fact]
    public void BatchLoader_CanBeLeftInTheMiddle()
    {
        var data = SyntheticImages.Create(200, 1);
        foreach (var batch in new BatchLoader(data, new Augmentation(), 10, 1, 2).Epoch(0))
        {
            batch.Dispose();
            break;
        }
    }

    private static byte[] Images(int count) =>
        [0, 0, 8, 3, 0, 0, 0, (byte)count, 0, 0, 0, 28, 0, 0, 0, 28, .. Enumerable.Range(0, count * 784).Select(i => (byte)i)];

    private static byte[] Labels(byte[] labels) => [0, 0, 8, 1, 0, 0, 0, (byte)labels.Length, .. labels];

    private void Write(string name, byte[] content)
    {
        using var stream = new GZipStream(File.Create(Path.Combine(folder, name)), CompressionLevel.Fastest);
        stream.Write(content);
    }
}
