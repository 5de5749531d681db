namespace ResNetNodes.Training;

/// <summary>A step of a range test.</summary>
/// <param name="LearningRate">Its rate.</param>
/// <param name="Loss">The mean loss over its images, before it.</param>
public sealed record LearningRatePoint(double LearningRate, double Loss);

/// <summary>
/// Losses against learning rates that rise from step to step, and what they say. A line is fitted around each step (least squares,
/// Gaussian weights in the logarithm of the rate), so that the smoothed loss does not lag behind, and its slope has an error.
/// </summary>
public sealed class LearningRateCurve
{
    // Of the weights: e^0.5 = 1.6 times a rate, or two steps where these lie further apart.
    private const double Bandwidth = 0.5, BandwidthSteps = 2;

    // Of the scatter's weights, beside that.
    private const double ScatterWidth = 2;

    // Standard errors by which a slope has to be below 0.
    private const double Certain = 5;

    private readonly (double Loss, double Slope, double Error)[] fits;

    /// <summary>Fits the lines.</summary>
    /// <param name="points">The steps, of rising rates.</param>
    /// <param name="divergedAt">See <see cref="DivergedAt"/>.</param>
    /// <exception cref="ArgumentException">The rates do not rise, or one is not positive.</exception>
    public LearningRateCurve(IReadOnlyList<LearningRatePoint> points, double? divergedAt)
    {
        ArgumentNullException.ThrowIfNull(points);
        if (points.Count > 0 && !(points[0].LearningRate > 0)
            || points.Zip(points.Skip(1)).Any(pair => !(pair.Second.LearningRate > pair.First.LearningRate)))
        {
            throw new ArgumentException("learning rates of a curve are positive and rise from step to step", nameof(points));
        }

        (Points, DivergedAt) = (points, divergedAt);
        fits = Fits(points);
    }

    /// <summary>The steps in order, up to where the training diverged.</summary>
    public IReadOnlyList<LearningRatePoint> Points { get; }

    /// <summary>
    /// The rate at which the loss was no finite number, or its mean over five steps had risen from its lowest by three times that lowest
    /// and by three times its fall before; null where neither was.
    /// </summary>
    public double? DivergedAt { get; }

    /// <summary>The loss of each step, on the line fitted around it.</summary>
    public IReadOnlyList<double> SmoothedLosses => [.. fits.Select(fit => fit.Loss)];

    /// <summary>The rate of the lowest smoothed loss; null where there is no step.</summary>
    public double? Lowest => fits.Length == 0 ? null : Points[LowestStep].LearningRate;

    /// <summary>
    /// A safe rate to begin a training with, of which a few times as much may be better (docs/training.md): where the smoothed loss
    /// falls fastest as the logarithm of the rate grows, before its lowest value. Null where it nowhere falls by more than the scatter of
    /// the batches explains.
    /// </summary>
    public double? Suggested
    {
        get
        {
            var falling = fits.Length == 0
                ? []
                : Enumerable.Range(0, LowestStep).Where(i => fits[i].Slope < -Certain * fits[i].Error).ToList();
            return falling.Count == 0 ? null : Points[falling.MinBy(i => fits[i].Slope)].LearningRate;
        }
    }

    private int LowestStep => Enumerable.Range(0, fits.Length).MinBy(i => fits[i].Loss);

    private static (double Loss, double Slope, double Error)[] Fits(IReadOnlyList<LearningRatePoint> points)
    {
        if (points.Count < 2)
        {
            return [.. points.Select(point => (point.Loss, 0.0, double.PositiveInfinity))];
        }

        var x = points.Select(point => Math.Log(point.LearningRate)).ToArray();
        var y = points.Select(point => point.Loss).ToArray();
        var width = Math.Max(Bandwidth, BandwidthSteps * (x[^1] - x[0]) / (x.Length - 1));
        return [.. x.Select(at => Line(x, y, at, width, Variance(x, y, at, ScatterWidth * width)))];
    }

    // Of one loss around a rate, since losses scatter more where the training is about to diverge: from differences between steps that
    // follow each other, which a fall hardly changes (von Neumann).
    private static double Variance(double[] x, double[] y, double at, double width)
    {
        var (squares, weights) = (0.0, 0.0);
        for (var i = 1; i < x.Length; i++)
        {
            var weight = Weight((x[i] + x[i - 1]) / 2, at, width);
            (squares, weights) = (squares + (weight * Math.Pow(y[i] - y[i - 1], 2)), weights + weight);
        }

        return squares / weights / 2;
    }

    private static double Weight(double x, double at, double width) => Math.Exp(-Math.Pow((x - at) / width, 2) / 2);

    private static (double Loss, double Slope, double Error) Line(double[] x, double[] y, double at, double width, double variance)
    {
        var w = x.Select(xi => Weight(xi, at, width)).ToArray();
        var total = w.Sum();
        var (centre, mean) = (Sum(i => w[i] * x[i]) / total, Sum(i => w[i] * y[i]) / total);
        var spread = Sum(i => w[i] * Math.Pow(x[i] - centre, 2));
        var slope = Sum(i => w[i] * (x[i] - centre) * (y[i] - mean)) / spread;
        var error = Math.Sqrt(variance * Sum(i => Math.Pow(w[i] * (x[i] - centre), 2))) / spread;
        return (mean + (slope * (at - centre)), slope, error);

        double Sum(Func<int, double> of) => Enumerable.Range(0, x.Length).Sum(of);
    }
}
