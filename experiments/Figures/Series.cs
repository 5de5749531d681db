using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Figures;

/// <summary>How points are joined.</summary>
internal enum Stroke
{
    /// <summary>By a line.</summary>
    Solid,

    /// <summary>By dashes.</summary>
    Dashed,

    /// <summary>By dots.</summary>
    Dotted,

    /// <summary>Not at all: a cloud.</summary>
    None,
}

/// <summary>How a point is marked.</summary>
internal enum Marker
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>A filled circle.</summary>
    Disc,

    /// <summary>An open circle.</summary>
    Circle,

    /// <summary>A filled triangle.</summary>
    Triangle,

    /// <summary>A filled square.</summary>
    Square,
}

/// <summary>A line or a cloud of points of a figure.</summary>
/// <param name="Label">In the legend; empty for none.</param>
/// <param name="X">Abscissae.</param>
/// <param name="Y">Ordinates.</param>
/// <param name="Colour">As #rrggbb; null takes the next of the palette.</param>
internal sealed record Series(string Label, IReadOnlyList<double> X, IReadOnlyList<double> Y, string? Colour = null)
{
    /// <summary>How its points are joined.</summary>
    public Stroke Stroke { get; init; }

    /// <summary>How each of them is marked.</summary>
    public Marker Marker { get; init; } = Marker.Disc;

    /// <summary>The line of medians in the band of their quartiles.</summary>
    /// <param name="label">In the legend.</param>
    /// <param name="x">Abscissae.</param>
    /// <param name="values">What was found at each of them, by its index.</param>
    /// <param name="colour">As #rrggbb.</param>
    public static Series OfQuartiles(string label, IReadOnlyList<double> x, Func<int, IEnumerable<double>> values, string colour)
    {
        double[] At(double share) => [.. Enumerable.Range(0, x.Count).Select(i => Fit.Quantile(values(i), share))];
        return new(label, x, At(0.5), colour) { Band = (At(0.25), At(0.75)) };
    }

    /// <summary>A band around the line, such as quartiles: lower and upper ordinates at X.</summary>
    public (IReadOnlyList<double> Low, IReadOnlyList<double> High)? Band { get; init; }
}
