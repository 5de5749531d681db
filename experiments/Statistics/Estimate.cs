using System.Globalization;

namespace ResNetNodes.Experiments.Statistics;

/// <summary>A number that was measured several times, and the interval about it that holds its true value with 95 % probability.</summary>
/// <param name="Value">The mean.</param>
/// <param name="HalfWidth">Half of the interval; infinite where one value alone tells nothing of it.</param>
internal sealed record Estimate(double Value, double HalfWidth)
{
    /// <summary>The mean of values, by their own scatter.</summary>
    /// <param name="values">One a seed.</param>
    /// <param name="comparisons">Intervals that are to hold all at once.</param>
    public static Estimate Of(IReadOnlyList<double> values, int comparisons = 1)
    {
        var scatter = Scatter.Of([values]);
        return new(values.Average(), scatter is null ? double.PositiveInfinity : scatter.Reach(comparisons) / Math.Sqrt(values.Count));
    }

    /// <summary>Whether it is above a bound; null where the interval contains the bound.</summary>
    public bool? IsAbove(double bound) => Value - HalfWidth > bound ? true : Value + HalfWidth < bound ? false : null;

    /// <summary>Whether it lies within ±bound, by its whole interval; false where it lies outside by its whole interval.</summary>
    public bool? IsWithin(double bound) =>
        Math.Abs(Value) + HalfWidth <= bound ? true : Math.Abs(Value) - HalfWidth > bound ? false : null;

    /// <summary>As +6.2 ± 1.4; the interval is left out where it is not known.</summary>
    /// <param name="format">Of both numbers, such as 0.0 or +0.0;−0.0.</param>
    public string Text(string format)
    {
        var half = double.IsFinite(HalfWidth)
            ? " ± " + HalfWidth.ToString(format.Split(';')[0].TrimStart('+'), CultureInfo.InvariantCulture)
            : string.Empty;
        // Rounded first: a number that is shown as zero has no sign of its own.
        var digits = format.Split(';')[0].Split('.') is [_, var decimals] ? decimals.Length : 0;
        return (Math.Round(Value, digits) + 0.0).ToString(format, CultureInfo.InvariantCulture) + half;
    }
}
