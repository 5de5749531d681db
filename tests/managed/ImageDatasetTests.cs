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

    private sealed class Own(int[] labels, int classes, IReadOnlyList<string>? names) : ImageDataset("own", labels, classes, names)
    {
        public override ImageBytes? Read(int index) => new ImageBytes(new byte[1], 1, 1, 1);

        public override ImageDataset Take(int count) => this;
    }
}
