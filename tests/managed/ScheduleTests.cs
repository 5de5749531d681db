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
    [InlineData("cosine@")]
    [InlineData("cosine@epoch")]
    [InlineData("@step")]
    [InlineData("cosine@step@step")]
    [InlineData("warmup:5")]
    [InlineData("warmup:+cosine")]
    [InlineData("warmup:x+cosine")]
    [InlineData("warmup:1.5+cosine")]
    [InlineData("warmup:5step+cosine")]
    [InlineData("warmup:5+")]
    [InlineData("warmup:5+warmup:5+cosine")]
    [InlineData("cosine+warmup:5")]
    public void Parse_RefusesOthers(string text) =>
        Assert.Contains($"schedule '{text}' is unknown", Assert.Throws<ArgumentException>(() => Schedule.Parse(text)).Message);

    [Theory]
    [InlineData("steps:99999999999", 0)]
    [InlineData("steps:30+100001", 0)]
    [InlineData("every:0*0.5", 1)]
    [InlineData("every:100001*0.5", 1)]
    [InlineData("every:99999999999*0.5", 1)]
    [InlineData("warmup:0+cosine", 1)]
    [InlineData("warmup:100001+cosine", 1)]
    [InlineData("warmup:2+steps:100001", 0)]
    public void Parse_NamesTheRange(string text, int least) => Assert.Contains(
        $"epochs are from {least} to 100000", Assert.Throws<ArgumentException>(() => Schedule.Parse(text)).Message);

    [Theory]
    [InlineData("warmup:0steps+cosine")]
    [InlineData("warmup:10000001steps+cosine")]
    [InlineData("warmup:99999999999steps+cosine")]
    public void Parse_NamesTheRangeOfSteps(string text) => Assert.Contains(
        "steps of a warm-up are from 1 to 10000000", Assert.Throws<ArgumentException>(() => Schedule.Parse(text)).Message);

    /// <summary>Against the formulas, in each of 5 steps of 6 epochs.</summary>
    [Theory]
    [InlineData("cosine@step")]
    [InlineData("warmup:2+cosine@step")]
    [InlineData("warmup:7steps+cosine")]
    [InlineData("warmup:1+steps:2+4")]
    [InlineData("warmup:12steps+every:2*0.5@step")]
    [InlineData("thirds@step")]
    public void Factor_OfAStepIsAsDefined(string text)
    {
        const int epochs = 6, steps = 5;
        var schedule = Schedule.Parse(text);
        Assert.Equal(text, schedule.ToString());
        Assert.Equal(text.EndsWith("@step", StringComparison.Ordinal), schedule.IsByStep);
        for (var epoch = 0; epoch < epochs; epoch++)
        {
            for (var step = 0; step < steps; step++)
            {
                double time = schedule.IsByStep ? epoch + (step / 5.0) : epoch;
                var rise = text.Split('+')[0] switch
                {
                    "warmup:2" => 10,
                    "warmup:7steps" => 7,
                    "warmup:1" => 5,
                    "warmup:12steps" => 12,
                    _ => 1,
                };
                var factor = text.Contains("cosine", StringComparison.Ordinal) ? (1 + Math.Cos(Math.PI * time / 6)) / 2
                    : text.Contains("every", StringComparison.Ordinal) ? Math.Pow(0.5, Math.Floor(time / 2))
                    : time < 2 ? 1 : time < 4 ? 0.1 : 0.01;
                Assert.Equal(factor * Math.Min(1, ((epoch * 5) + step + 1.0) / rise), schedule.Factor(epoch, epochs, step, steps), 1e-12);
            }
        }
    }

    [Fact]
    public void Builders_PrintWhatParseReads()
    {
        Assert.Equal(Schedule.Parse("warmup:5+cosine@step"), Schedule.Cosine.ByStep().WarmUp(5));
        Assert.Equal(Schedule.Parse("warmup:500steps+steps:30+60"), Schedule.Steps(30, 60).WarmUpSteps(500));
        Assert.NotEqual(Schedule.Cosine, Schedule.Cosine.ByStep());
        Assert.NotEqual(Schedule.Cosine.WarmUp(5), Schedule.Cosine.WarmUpSteps(5));
        Assert.Throws<ArgumentOutOfRangeException>(() => Schedule.Cosine.WarmUp(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Schedule.Cosine.WarmUpSteps(10_000_001));
    }

    [Fact]
    public void Custom_IsTheUsersOwn()
    {
        var linear = Schedule.Custom("linear", (time, epochs) => 1 - (time / epochs));
        Assert.Equal(0.75, linear.Factor(1, 4, 3, 4));
        Assert.Equal(1 - (1.75 / 4), linear.ByStep().Factor(1, 4, 3, 4), 1e-15);
        Assert.Equal("warmup:2+linear@step", linear.ByStep().WarmUp(2).ToString());
        Assert.Throws<ArgumentException>(() => Schedule.Parse("linear"));
        Assert.Throws<ArgumentException>(() => Schedule.Custom("cosine", (_, _) => 1));
        Assert.Throws<ArgumentException>(() => Schedule.Custom("a+b", (_, _) => 1));
        Assert.Equal(
            "schedule falling: its factor at 2 of 4 epochs is -1, expected a finite number of 0 or more",
            Assert.Throws<ResNetNodesException>(() => Schedule.Custom("falling", (_, _) => -1).Factor(2, 4)).Message);
        Assert.Throws<ResNetNodesException>(() => Schedule.Custom("odd", (_, _) => double.NaN).Factor(2, 4));
    }

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
