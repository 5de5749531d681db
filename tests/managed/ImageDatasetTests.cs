using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class ImageDatasetTests
{
    [Fact]
    public void Labels_AreClasses()
    {
        var data = new Own([0, 2, 1], 3, ["a", "b", "c"]);
        Assert.Equal(("own", 3, 3), (data.Name, data.Count, data.Classes));
        Assert.Equal([0, 2, 1], Enumerable.Range(0, 3).Select(data.Label));
        Assert.Equal("c", data.ClassNames![data.Label(1)]);
        Assert.Null(data.Digest);
    }

    [Theory]
    [InlineData(3, "label 3 of image 1")]
    [InlineData(-1, "label -1 of image 1")]
    public void AWrongLabel_IsNamed(int label, string message) =>
        Assert.Contains(message, Assert.Throws<ArgumentException>(() => new Own([0, label], 3, null)).Message);

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Contains("2 names for 3 classes", Assert.Throws<ArgumentException>(() => new Own([0], 3, ["a", "b"])).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Own([], 0, null));
        Assert.Throws<ArgumentNullException>(() => new Own(null!, 3, null));
    }

    /// <summary>Parts of a set: every image is in one of them, as it was; a seed says in which.</summary>
    [Theory]
    [InlineData(40, 0.25, 10)]
    [InlineData(41, 0.5, 20)]
    [InlineData(2, 0.01, 1)]
    [InlineData(100, 0.99, 99)]
    public void Split_PartsTheImages(int count, double share, int validating)
    {
        var data = SyntheticImages.Create(count, 1);
        var (training, validation) = data.Split(share, 3);
        Assert.Equal((count - validating, validating), (training.Count, validation.Count));
        static string Of(ImageDataset set, int i) => $"{Convert.ToHexString(set.Read(i)!.Value.Values.Span)} {set.Label(i)}";
        List<string> Images(ImageDataset set) => [.. Enumerable.Range(0, set.Count).Select(i => Of(set, i))];
        Assert.Equal(Images(data).Order(), Images(training).Concat(Images(validation)).Order());
        // In the order of the set.
        Assert.Equal(Images(data).Where(Images(validation).Contains), Images(validation));
        Assert.Equal((data.Name, data.Classes), (validation.Name, validation.Classes));
        var again = data.Split(share, 3);
        Assert.Equal(validation.Digest, again.Validation.Digest);
        Assert.Equal(training.Digest, again.Training.Digest);
        Assert.NotEqual(training.Digest, validation.Digest);
        Assert.Equal(Images(validation).Take(1), Images(validation.Take(1)));
        if (count == 40)
        {
            Assert.NotEqual(validation.Digest, data.Split(share, 4).Validation.Digest);
        }
    }

    [Fact]
    public void Split_ChecksItsArguments()
    {
        var one = SyntheticImages.Create(1, 1);
        Assert.Contains("none be left to train with", Assert.Throws<ResNetNodesException>(() => one.Split(0.5, 1)).Message);
        Assert.All([0, 1, -0.5, double.NaN], share => Assert.Throws<ArgumentOutOfRangeException>(() => one.Split(share, 1)));
        Assert.Null(new Own([0, 0, 0], 1, null).Split(0.5, 1).Training.Digest);
    }

    private sealed class Own(int[] labels, int classes, IReadOnlyList<string>? names) : ImageDataset("own", labels, classes, names)
    {
        public override ImageBytes? Read(int index) => new ImageBytes(new byte[1], 1, 1, 1);

        public override ImageDataset Take(int count) => this;
    }
}
