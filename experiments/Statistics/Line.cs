namespace ResNetNodes.Experiments.Statistics;

/// <summary>A straight line by least squares: its slope, and how far the scatter about it lets that be off.</summary>
/// <param name="Slope">Of y over x.</param>
/// <param name="StandardError">Of the slope; null with two points, which no line misses.</param>
/// <param name="Freedom">Points beyond the two that a line needs.</param>
internal sealed record Line(double Slope, double? StandardError, int Freedom)
{
    // What an exponent may lack of its order where steps are not yet small.
    private const double Shortfall = 0.15;

    /// <summary>The slope and its interval; infinite with two points.</summary>
    public Estimate Interval =>
        new(Slope, StandardError is { } error ? error * Student.Reach(Freedom) : double.PositiveInfinity);

    /// <summary>Of a power law: the line of y².</summary>
    public Line Squared => new(2 * Slope, 2 * StandardError, Freedom);

    /// <summary>Whether the slope is below a bound; null where its interval contains the bound.</summary>
    public bool? IsBelow(double bound) => !Interval.IsAbove(bound);

    /// <summary>Of a power law: whether y falls at least as x^−order.</summary>
    public bool? FallsAs(double order) => IsBelow(Shortfall - order);

    /// <summary>The slope, and its interval if that is known: -1.47 ± 0.02.</summary>
    public string Text(string format) => Interval.Text(format);
}
