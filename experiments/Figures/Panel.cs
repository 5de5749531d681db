namespace ResNetNodes.Experiments.Figures;

/// <summary>One pair of axes of a figure.</summary>
/// <param name="X">Label of the abscissa.</param>
/// <param name="Y">Label of the ordinate.</param>
/// <param name="Series">What is drawn.</param>
internal sealed record Panel(string X, string Y, IReadOnlyList<Series> Series)
{
    /// <summary>Above the axes; empty for none.</summary>
    public string Title { get; init; } = string.Empty;

    public bool LogX { get; init; }

    public bool LogY { get; init; }

    /// <summary>What the abscissa spans; null takes what is drawn.</summary>
    public (double Low, double High)? RangeX { get; init; }

    /// <summary>What the ordinate spans, such as that of other panels; null takes what is drawn.</summary>
    public (double Low, double High)? RangeY { get; init; }

    /// <summary>Where the abscissa is labelled, in its own numbers; null leaves it to the library.</summary>
    public IReadOnlyList<(double Position, string Label)>? TicksX { get; init; }

    /// <summary>Where the ordinate is labelled; null leaves it to the library.</summary>
    public IReadOnlyList<double>? TicksY { get; init; }
}
