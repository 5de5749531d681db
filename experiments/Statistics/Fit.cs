namespace ResNetNodes.Experiments.Statistics;

/// <summary>Straight lines by least squares.</summary>
internal static class Fit
{
    /// <summary>Slope of y over x.</summary>
    public static double Slope(IReadOnlyList<double> x, IReadOnlyList<double> y)
    {
        var (mx, my) = (x.Average(), y.Average());
        return x.Zip(y, (a, b) => (a - mx) * (b - my)).Sum() / x.Sum(a => (a - mx) * (a - mx));
    }

    /// <summary>Exponent p of y ~ x^p; null where fewer than two points are positive.</summary>
    public static double? Exponent(IEnumerable<double> x, IEnumerable<double> y)
    {
        var points = x.Zip(y).Where(p => p.First > 0 && p.Second > 0 && double.IsFinite(p.Second)).ToList();
        return points.Select(p => p.First).Distinct().Count() < 2
            ? null
            : Slope([.. points.Select(p => Math.Log(p.First))], [.. points.Select(p => Math.Log(p.Second))]);
    }

    /// <summary>A quantile, linear between the sorted values.</summary>
    public static double Quantile(IEnumerable<double> values, double share)
    {
        var sorted = values.Order().ToList();
        var at = share * (sorted.Count - 1);
        var below = (int)Math.Floor(at);
        return sorted[below] + ((at - below) * (sorted[Math.Min(below + 1, sorted.Count - 1)] - sorted[below]));
    }
}
