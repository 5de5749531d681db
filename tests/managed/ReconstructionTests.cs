using Xunit;

namespace ResNetNodes.Tests;

public sealed class ReconstructionTests
{
    [Theory]
    [InlineData("backprop")]
    [InlineData("checkpoint")]
    [InlineData("checkpoint:8")]
    [InlineData("inverse")]
    [InlineData("corrected")]
    [InlineData("corrected:2")]
    [InlineData("extrapolated")]
    [InlineData("extrapolated:3")]
    [InlineData("adaptive")]
    [InlineData("adaptive:0.1")]
    [InlineData("adaptive:0.001")]
    public void Parse_IsTheInverseOfPrint(string text)
    {
        Assert.Equal(text, Reconstruction.Parse(text).ToString());
        Assert.Equal(Reconstruction.Parse(text), Reconstruction.Parse(Reconstruction.Parse(text).ToString()));
    }

    [Fact]
    public void Parse_ReadsEveryName() => Assert.All(Reconstruction.Names, name => Assert.Equal(name, Reconstruction.Parse(name).Name));

    [Fact]
    public void Names_OutliveTheNativeTable()
    {
        var names = Reconstruction.Names;
        for (var i = 0; i < 50; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Assert.Equal(names, Reconstruction.Names);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("invers")]
    [InlineData("inverse:2")]
    [InlineData("corrected:0")]
    [InlineData("corrected:-1")]
    [InlineData("corrected:1.5")]
    [InlineData("corrected:99999999999")]
    [InlineData("adaptive:1e400")]
    [InlineData("extrapolated:4")]
    [InlineData("adaptive:0")]
    [InlineData("adaptive:nan")]
    [InlineData("adaptive:0,1")]
    public void Parse_RefusesWhatIsNoMethod(string text)
    {
        var error = Assert.Throws<ArgumentException>(() => Reconstruction.Parse(text));
        Assert.Contains("adaptive[:tolerance]", error.Message);
        Assert.False(Reconstruction.TryParse(text, out _));
    }

    [Theory]
    [InlineData("invers", "did you mean inverse?")]
    [InlineData("chekpoint:3", "did you mean checkpoint?")]
    [InlineData("corrected:0", "has an argument that corrected does not take")]
    public void Parse_SaysWhatIsWrong(string text, string expected) =>
        Assert.Contains(expected, Assert.Throws<ArgumentException>(() => Reconstruction.Parse(text)).Message);
}
