namespace ResNetNodes.Experiments.Statistics;

/// <summary>How far single runs lie from the mean of their kind, over several kinds at once.</summary>
/// <param name="Deviation">The standard deviation of a run.</param>
/// <param name="Freedom">Runs beyond one a kind.</param>
internal sealed record Scatter(double Deviation, int Freedom)
{
    /// <summary>The scatter within groups; null where no group has two values.</summary>
    public static Scatter? Of(IEnumerable<IReadOnlyList<double>> groups)
    {
        var (squares, freedom) = (0.0, 0);
        foreach (var values in groups)
        {
            var mean = values.Average();
            squares += values.Sum(value => (value - mean) * (value - mean));
            freedom += values.Count - 1;
        }

        return freedom > 0 ? new(Math.Sqrt(squares / freedom), freedom) : null;
    }

    /// <summary>How far one run may lie from its mean.</summary>
    /// <param name="comparisons">Intervals that are to hold all at once.</param>
    public double Reach(int comparisons = 1) => Deviation * Student.Reach(Freedom, comparisons);
}
