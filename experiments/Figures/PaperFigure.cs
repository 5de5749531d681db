using ResNetNodes.Experiments.Cli;
using ResNetNodes.Training;
using ScottPlot;

namespace ResNetNodes.Experiments.Figures;

/// <summary>A line or a cloud of points of a figure.</summary>
/// <param name="Label">In the legend.</param>
/// <param name="X">Abscissae.</param>
/// <param name="Y">Ordinates.</param>
/// <param name="Colour">As #rrggbb; null takes the next of the palette.</param>
/// <param name="Points">Points alone, in place of a line with points.</param>
/// <param name="Open">Open markers. (The library draws no dashes into SVG.)</param>
internal sealed record Series(string Label, IReadOnlyList<double> X, IReadOnlyList<double> Y, string? Colour = null, bool Points = false, bool Open = false);

/// <summary>Figures with the paper's axes and colours, as PNG and SVG. The CSV that each is drawn from is the verb's own.</summary>
internal static class PaperFigure
{
    /// <summary>The paper's colour of a solver: dark blue ResNet, red HeunNet.</summary>
    public static string ColourOf(Solver solver) => solver == Solver.Heun ? "#c82423" : "#14306e";

    /// <summary>Draws and writes a figure.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="name">File name without ending.</param>
    /// <param name="title">Title.</param>
    /// <param name="x">Label of the abscissa.</param>
    /// <param name="y">Label of the ordinate.</param>
    /// <param name="series">What is drawn.</param>
    /// <param name="logY">Logarithmic ordinate.</param>
    /// <param name="ticksX">Where the abscissa is labelled; null leaves it to the library.</param>
    /// <returns>The PNG's path.</returns>
    public static string Save(RunFolder folder, string name, string title, string x, string y, IReadOnlyList<Series> series, bool logY = false, IReadOnlyList<(double Position, string Label)>? ticksX = null)
    {
        using var plot = new Plot();
        plot.Title(title);
        plot.XLabel(x);
        plot.YLabel(y);
        foreach (var one in series)
        {
            // Logarithmic axes draw logarithms under ticks that name the numbers; what has none can't be shown.
            var kept = one.X.Zip(one.Y).Where(p => double.IsFinite(p.Second) && (!logY || p.Second > 0)).ToList();
            if (kept.Count == 0)
            {
                continue;
            }

            var drawn = plot.Add.Scatter(kept.Select(p => p.First).ToArray(), kept.Select(p => logY ? Math.Log10(p.Second) : p.Second).ToArray());
            drawn.LegendText = one.Label;
            drawn.LineWidth = one.Points ? 0 : 2;
            drawn.MarkerSize = one.Points ? 5 : 7;
            drawn.MarkerShape = one.Open ? MarkerShape.OpenCircle : MarkerShape.FilledCircle;
            if (one.Colour is { } colour)
            {
                drawn.Color = Color.FromHex(colour).WithAlpha(one.Points ? 0.55 : 1);
            }
        }

        if (logY)
        {
            plot.Axes.Left.TickGenerator = new ScottPlot.TickGenerators.NumericAutomatic
            {
                MinorTickGenerator = new ScottPlot.TickGenerators.LogMinorTickGenerator(),
                IntegerTicksOnly = true,
                LabelFormatter = exponent => $"1e{exponent:0}",
            };
        }

        if (ticksX is not null)
        {
            plot.Axes.Bottom.SetTicks([.. ticksX.Select(t => t.Position)], [.. ticksX.Select(t => t.Label)]);
        }

        if (series.Any(s => s.Label.Length > 0))
        {
            plot.ShowLegend(Edge.Right);
        }

        WholeFile.Write(folder.File(name + ".png"), plot.GetImage(900, 560).GetImageBytes());
        WholeFile.Write(folder.File(name + ".svg"), plot.GetSvgXml(900, 560));
        return folder.File(name + ".png");
    }
}
