using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class SyntheticImagesTests
{
    [Fact]
    public void Create_IsSeeded()
    {
        Assert.Equal(Bytes(SyntheticImages.Create(20, 1)), Bytes(SyntheticImages.Create(20, 1)));
        Assert.NotEqual(Bytes(SyntheticImages.Create(20, 1)), Bytes(SyntheticImages.Create(20, 2)));
    }

    [Fact]
    public void Create_CallsItselfSyntheticAndBalancesClasses()
    {
        var data = SyntheticImages.Create(50, 3, classes: 5, channels: 1, size: 9);
        Assert.Equal(("synthetic", 50, 5), (data.Name, data.Count, data.Classes));
        Assert.All(Enumerable.Range(0, 50).CountBy(data.Label), pair => Assert.Equal(10, pair.Value));
        var image = data.Read(0)!.Value;
        Assert.Equal((1, 9, 9, 81), (image.Channels, image.Height, image.Width, image.Values.Length));
    }

    /// <summary>Images of one class share a pattern, whatever the seed: train and test images of a smoke test do too.</summary>
    [Fact]
    public void Classes_AreNearerToThemselvesThanToOthers()
    {
        var (first, second) = (SyntheticImages.Create(10, 1), SyntheticImages.Create(10, 2));
        for (var i = 0; i < 10; i++)
        {
            var distances = Enumerable.Range(0, 10).Select(j => Distance(first.Read(i)!.Value, second.Read(j)!.Value)).ToList();
            Assert.Equal(i, distances.IndexOf(distances.Min()));
        }
    }

    private static List<byte> Bytes(ImageDataset data) =>
        [.. Enumerable.Range(0, data.Count).SelectMany(i => data.Read(i)!.Value.Values.ToArray())];

    private static double Distance(ImageBytes a, ImageBytes b) =>
        a.Values.ToArray().Zip(b.Values.ToArray()).Sum(pair => Math.Pow(pair.First - pair.Second, 2));
}
