using ResNetNodes.Networks;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class NetworkSizeTests
{
    [Theory]
    [InlineData("18", new[] { 2, 2, 2, 2 }, false)]
    [InlineData("101", new[] { 3, 4, 23, 3 }, true)]
    [InlineData("auto:2", new[] { 2, 2, 2, 2 }, false)]
    [InlineData("auto:8", new[] { 8, 8, 8, 8 }, true)]
    [InlineData("custom:3+8+40+3", new[] { 3, 8, 40, 3 }, true)]
    [InlineData("custom-basic:2+2+10+2", new[] { 2, 2, 10, 2 }, false)]
    public void Parse_IsTheInverseOfPrint(string text, int[] blocks, bool bottleneck)
    {
        var size = NetworkSize.Parse(text);
        Assert.Equal((text, bottleneck), (size.ToString(), size.Bottleneck));
        Assert.Equal(blocks, size.Blocks);
        Assert.Equal(size, NetworkSize.Parse(size.ToString()));
        Assert.Equal(size.GetHashCode(), NetworkSize.Custom(blocks, bottleneck).GetHashCode());
    }

    [Theory]
    [InlineData("")]
    [InlineData("19")]
    [InlineData("auto:0")]
    [InlineData("auto:2+2")]
    [InlineData("custom:1+2+3")]
    [InlineData("custom:1+2+3+0")]
    [InlineData("custom:1+2+3+x")]
    public void Parse_RefusesOthers(string text) => Assert.Throws<ArgumentException>(() => NetworkSize.Parse(text));

    /// <summary>A stage that is too large is no mistyped word.</summary>
    [Theory]
    [InlineData("auto:0")]
    [InlineData("auto:1048577")]
    [InlineData("auto:99999999999")]
    [InlineData("custom:1+2+3+1048577")]
    [InlineData("custom-basic:2147483647+1+1+1")]
    public void Parse_NamesTheRange(string text) => Assert.Contains(
        $"size '{text}': a stage has 1 to 1048576 blocks", Assert.Throws<ArgumentException>(() => NetworkSize.Parse(text)).Message);

    [Theory]
    [InlineData("auto:2", "18")]
    [InlineData("custom:3+4+6+3", "50")]
    [InlineData("custom-basic:3+4+6+3", "34")]
    public void Sizes_AreEqualWhereTheyBuildTheSame(string one, string other)
    {
        Assert.Equal(NetworkSize.Parse(other), NetworkSize.Parse(one));
        Assert.Equal(NetworkSize.Parse(other).GetHashCode(), NetworkSize.Parse(one).GetHashCode());
    }

    [Fact]
    public void Sizes_OfOtherBlocksDiffer()
    {
        Assert.NotEqual(NetworkSize.Parse("34"), NetworkSize.Parse("50"));
        Assert.NotEqual(NetworkSize.Auto(3), NetworkSize.Custom([3, 3, 3, 3], bottleneck: false));
        Assert.Equal((4, 1), (NetworkSize.Auto(3).Expansion, NetworkSize.Auto(2).Expansion));
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => NetworkSize.Auto(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => NetworkSize.Auto(1048577));
        Assert.Throws<ArgumentException>(() => NetworkSize.Custom([1, 1, 1, int.MaxValue]));
        Assert.Equal(1048576, NetworkSize.Parse("auto:1048576").Blocks[3]);
        Assert.Contains("3+0+2+1", Assert.Throws<ArgumentException>(() => NetworkSize.Custom([3, 0, 2, 1])).Message);
        Assert.Throws<ArgumentException>(() => NetworkSize.Custom([3, 2, 1]));
        Assert.Throws<ArgumentNullException>(() => NetworkSize.Parse(null!));
    }
}
