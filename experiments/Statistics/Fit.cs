namespace ResNetNodes.Experiments.Statistics;

/// <summary>Straight lines by least squares.</summary>
internal static class Fit
{
    /// <summary>The line of y over x.</summary>
    public static Line Line(IReadOnlyList<double> x, IReadOnlyList<double> y)
    {
        var (mx, my, freedom) = (x.Average(), y.Average(), x.Count - 2);
        var spread = x.Sum(a => (a - mx) * (a - mx));
        var slope = x.Zip(y, (a, b) => (a - mx) * (b - my)).Sum() / spread;
        var residuals = x.Zip(y, (a, b) => b - my - (slope * (a - mx))).Sum(r => r * r);
        return new(slope, freedom > 0 ? Math.Sqrt(residuals / freedom / spread) : null, freedom);
    }

    /// <summary>The line of log y over log x, whose slope is p of y ~ x^p; null where fewer than two points are positive.</summary>
    public static Line? Power(IEnumerable<double> x, IEnumerable<double> y)
    {
        var points = x.Zip(y).Where(p => p.First > 0 && p.Second > 0 && double.IsFinite(p.Second)).ToList();
        return points.Select(p => p.First).Distinct().Count() < 2
            ? null
            : Line([.. points.Select(p => Math.Log(p.First))], [.. points.Select(p => Math.Log(p.Second))]);
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
