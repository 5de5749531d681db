using ResNetNodes.Training;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class LearningRateCurveTests
{
    /// <summary>
    /// A loss that falls along a logistic function of the rate's logarithm, and rises behind: the fastest fall is in its middle.
    /// </summary>
    [Theory]
    [InlineData(100, 0)]
    [InlineData(100, 0.05)]
    [InlineData(100, 0.1)]
    [InlineData(300, 0.15)]
    [InlineData(30, 0.03)]
    public void Suggested_IsWhereTheLossFallsFastest(int steps, double noise)
    {
        for (var seed = 0; seed < 50; seed++)
        {
            var random = new Random(seed);
            var middle = -7 + (5 * random.NextDouble());
            var curve = Curve(steps, x => 2.3 - (1.5 / (1 + Math.Exp(-(x - middle)))) + Math.Exp(x - 2.3), noise, random);
            // The fall is at least 70 % as steep there as at its fastest.
            Assert.InRange(curve.Suggested!.Value / Math.Exp(middle), 1 / 3.5, 3.5);
            Assert.InRange(curve.Lowest!.Value, curve.Suggested.Value, 10);
        }
    }

    [Fact]
    public void Suggested_IsNothing_WhereOnlyBatchesDiffer()
    {
        var suggested = Enumerable.Range(0, 500).Count(seed => Curve(100, _ => 2.3, 0.1, new(seed)).Suggested is not null);
        // Five standard errors, at about a dozen places that do not depend on each other; the scatter is an estimate itself.
        Assert.InRange(suggested, 0, 2);
    }

    [Fact]
    public void Suggested_IsNothing_WhereTheLossRises() =>
        Assert.Null(Curve(100, x => 2 + Math.Exp(x), 0.01, new(1)).Suggested);

    /// <summary>A line in the logarithm of the rate is fitted exactly, at the ends too: smoothing does not lag behind.</summary>
    [Fact]
    public void SmoothedLosses_OfALine_AreTheLine()
    {
        var curve = Curve(40, x => 1 - (0.2 * x), 0, new(1));
        Assert.All(curve.Points.Zip(curve.SmoothedLosses), pair => Assert.Equal(pair.First.Loss, pair.Second, 10));
        Assert.Equal(curve.Points[^1].LearningRate, curve.Lowest);
    }

    [Fact]
    public void FewSteps_SuggestNothing()
    {
        var none = new LearningRateCurve([], 0.5);
        Assert.Null(none.Suggested);
        Assert.Null(none.Lowest);
        Assert.Empty(none.SmoothedLosses);
        Assert.Equal(0.5, none.DivergedAt);
        var one = new LearningRateCurve([new(0.1, 2)], null);
        Assert.Equal((null, 0.1, 2), (one.Suggested, one.Lowest, one.SmoothedLosses.Single()));
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(-1, 1)]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(1, double.NaN)]
    public void Rates_HaveToRise(double first, double second) => Assert.Contains(
        "rise from step to step",
        Assert.Throws<ArgumentException>(() => new LearningRateCurve([new(first, 2), new(second, 1)], null)).Message);

    // Over rates from 1e-5 to 10.
    private static LearningRateCurve Curve(int steps, Func<double, double> lossOfLogarithm, double noise, Random random)
    {
        double Chance() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        return new(
            [
                .. Enumerable.Range(0, steps).Select(i => Math.Log(1e-5) + (Math.Log(1e6) * i / (steps - 1)))
                    .Select(x => new LearningRatePoint(Math.Exp(x), lossOfLogarithm(x) + (noise * Chance()))),
            ],
            null);
    }
}
