using ResNetNodes.Training;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class ScheduleTests
{
    [Theory]
    [InlineData("constant", 1, 1, 1)]
    [InlineData("cosine", 1, 0.75, 0.25)]
    [InlineData("thirds", 1, 0.1, 0.01)]
    [InlineData("steps:1+2", 1, 0.1, 0.01)]
    [InlineData("every:1*0.5", 1, 0.5, 0.25)]
    [InlineData("every:2*0.33", 1, 1, 0.33)]
    public void Factor_FallsAsItsTextSays(string text, double first, double second, double third)
    {
        var schedule = Schedule.Parse(text);
        Assert.Equal(text, schedule.ToString());
        Assert.Equal([first, second, third], new[] { 0, 1, 2 }.Select(e => Math.Round(schedule.Factor(e, 3), 10)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("cosin")]
    [InlineData("steps:")]
    [InlineData("steps:a")]
    [InlineData("steps:-1")]
    [InlineData("every:5")]
    [InlineData("every:5*2")]
    [InlineData("every:5*0")]
    [InlineData("every:5*x")]
    [InlineData("every:5*0,5")]
    public void Parse_RefusesOthers(string text) =>
        Assert.Contains($"schedule '{text}' is unknown", Assert.Throws<ArgumentException>(() => Schedule.Parse(text)).Message);

    [Theory]
    [InlineData("steps:99999999999", 0)]
    [InlineData("steps:30+100001", 0)]
    [InlineData("every:0*0.5", 1)]
    [InlineData("every:100001*0.5", 1)]
    [InlineData("every:99999999999*0.5", 1)]
    public void Parse_NamesTheRange(string text, int least) => Assert.Contains(
        $"epochs are from {least} to 100000", Assert.Throws<ArgumentException>(() => Schedule.Parse(text)).Message);

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentException>(() => Schedule.Steps());
        Assert.Throws<ArgumentException>(() => Schedule.Steps(-1));
        Assert.Throws<ArgumentException>(() => Schedule.Steps(100_001));
        Assert.Throws<ArgumentException>(() => Schedule.Steps([.. Enumerable.Range(0, 101)]));
        Assert.Throws<ArgumentOutOfRangeException>(() => Schedule.Every(100_001, 0.5));
        Assert.Equal("steps:0+100000", Schedule.Steps(0, 100_000).ToString());
    }

    [Fact]
    public void Schedules_AreEqualByText()
    {
        Assert.Equal(Schedule.Every(5, 0.33), Schedule.Parse("every:5*0.33"));
        Assert.Equal(Schedule.Every(5, 0.33).GetHashCode(), Schedule.Parse("every:5*0.33").GetHashCode());
        Assert.NotEqual(Schedule.Steps(1, 2), Schedule.Steps(1, 3));
    }

    [Theory]
    [InlineData("cosine")]
    [InlineData("thirds")]
    [InlineData("constant")]
    public void Factor_StartsAt1AndNeverRises(string text)
    {
        var schedule = Schedule.Parse(text);
        foreach (var epochs in new[] { 1, 2, 3, 7, 100 })
        {
            var factors = Enumerable.Range(0, epochs).Select(epoch => schedule.Factor(epoch, epochs)).ToList();
            Assert.Equal(1, factors[0]);
            Assert.All(factors, factor => Assert.InRange(factor, 0, 1));
            Assert.Equal(factors.OrderDescending(), factors);
        }
    }

    [Theory]
    [InlineData(0, 0.5)]
    [InlineData(1, 0)]
    [InlineData(1, 1.5)]
    [InlineData(1, double.NaN)]
    public void Every_ChecksItsArguments(int epochs, double factor) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Schedule.Every(epochs, factor));
}
