using System.Globalization;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Training;
using ScottPlot;
using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// Figures with the paper's axes and colours, as PNG and SVG. The CSV that each is drawn from is the verb's own.
/// </summary>
internal static class PaperFigure
{
    public const string DarkBlue = "#14306e";
    public const string Red = "#c82423";
    private const int Width = 900;
    private const int PanelHeight = 560;

    /// <summary>A network of one stage with a solver: the paper's ResNet and HeunNet, and others after their kind.</summary>
    public static string NetworkOf(string solver) =>
        solver == "euler" ? "ResNet" : char.ToUpper(solver[0], CultureInfo.InvariantCulture) + solver[1..] + "Net";

    /// <summary>
    /// The paper's colour of a solver: dark blue ResNet, red HeunNet; others take one of the palette.
    /// </summary>
    public static string ColourOf(string solver) => solver switch
    {
        "euler" => DarkBlue,
        "heun" => Red,
        _ => ColourAt(Solver.All.ToList().FindIndex(s => s.Name == solver)),
    };

    /// <summary>The colour of a method, the same in all figures.</summary>
    public static string ColourOfMethod(string method) => method switch
    {
        "backprop" => DarkBlue,
        "inverse" => Red,
        "adaptive" => "#009E73",
        _ => ColourAt(0),
    };

    /// <summary>A colour of methods that are compared in one figure.</summary>
    public static string ColourAt(int index) => new ScottPlot.Palettes.Category10().GetColor(index).ToHex();

    /// <summary>Draws and writes a figure of one panel.</summary>
    public static string Save(RunFolder folder, string name, string title, string x, string y, IReadOnlyList<Series> series) =>
        Save(folder, name, title, new Panel(x, y, series));

    /// <summary>Draws panels below each other, and writes NAME.png and NAME.svg.</summary>
    /// <returns>The PNG's path.</returns>
    public static string Save(RunFolder folder, string name, string title, params IReadOnlyList<Panel> panels)
    {
        var height = panels.Count == 1 ? PanelHeight : 320 * panels.Count;
        var plots = panels.Select((panel, i) => Draw(panel, i == 0 ? title : string.Empty, height / panels.Count)).ToList();
        using (var surface = SKSurface.Create(new SKImageInfo(Width, height)))
        {
            Render(surface.Canvas, plots, height);
            using var image = surface.Snapshot();
            using var png = image.Encode(SKEncodedImageFormat.Png, 100);
            folder.Write(name + ".png", png.ToArray());
        }

        using var stream = new MemoryStream();
        using (var canvas = SKSvgCanvas.Create(new SKRect(0, 0, Width, height), stream))
        {
            Render(canvas, plots, height);
        }

        folder.Write(name + ".svg", stream.ToArray());
        plots.ForEach(plot => plot.Dispose());
        folder.AddFigure(name + ".svg");
        return folder.File(name + ".png");
    }

    private static void Render(SKCanvas canvas, List<Plot> plots, int height)
    {
        canvas.Clear(SKColors.White);
        var each = height / plots.Count;
        for (var i = 0; i < plots.Count; i++)
        {
            // A plot clears all of the canvas that it may draw on.
            canvas.Save();
            canvas.ClipRect(new SKRect(0, i * each, Width, (i + 1) * each));
            plots[i].Render(canvas, new PixelRect(0, Width, (i + 1) * each, i * each));
            canvas.Restore();
        }
    }

    private static Plot Draw(Panel panel, string title, int height)
    {
        var plot = new Plot();
        plot.Title(panel.Title.Length > 0 ? panel.Title : title);
        plot.XLabel(panel.X);
        plot.YLabel(panel.Y);
        // Logarithmic axes draw logarithms under ticks that name the numbers; what has none can't be shown.
        double Along(double x) => panel.LogX ? Math.Log10(x) : x;
        double Up(double y) => panel.LogY ? Math.Log10(y) : y;
        var dashes = new List<(double[] X, double[] Y, Color Colour)>();
        foreach (var (index, one) in panel.Series.Index())
        {
            var colour = Color.FromHex(one.Colour ?? ColourAt(index));
            var kept = Enumerable.Range(0, one.X.Count)
                .Where(i => double.IsFinite(Up(one.Y[i])) && double.IsFinite(Along(one.X[i]))).ToList();
            if (kept.Count == 0)
            {
                continue;
            }

            double[] x = [.. kept.Select(i => Along(one.X[i]))], y = [.. kept.Select(i => Up(one.Y[i]))];
            if (one.Band is { } band)
            {
                var fill = plot.Add.FillY(x, [.. kept.Select(i => Up(band.Low[i]))], [.. kept.Select(i => Up(band.High[i]))]);
                fill.FillColor = colour.WithAlpha(0.15);
                fill.LineWidth = 0;
                fill.MarkerSize = 0;
            }

            var drawn = plot.Add.Scatter(x, y);
            drawn.LegendText = one.Label;
            drawn.LineWidth = one.Stroke == Stroke.Solid ? 2 : 0;
            drawn.MarkerSize = one.Marker == Marker.None ? 0 : one.Stroke == Stroke.None ? 5 : 7;
            drawn.MarkerShape = one.Marker == Marker.Circle ? MarkerShape.OpenCircle : MarkerShape.FilledCircle;
            drawn.Color = colour.WithAlpha(one.Stroke == Stroke.None ? 0.55 : 1);
            if (one.Stroke is Stroke.Dashed or Stroke.Dotted)
            {
                dashes.Add((x, y, colour));
            }
        }

        plot.Axes.AutoScale();
        if (panel.RangeX is { } wide)
        {
            plot.Axes.SetLimitsX(Along(wide.Low), Along(wide.High));
        }

        if (panel.RangeY is { } range)
        {
            const double margin = 0.05;
            var beyond = margin * (Up(range.High) - Up(range.Low));
            plot.Axes.SetLimitsY(Up(range.Low) - beyond, Up(range.High) + beyond);
        }

        AddDashes(plot, dashes, height);
        SetTicks(plot, panel, Along, Up);
        if (panel.Series.Any(s => s.Label.Length > 0))
        {
            plot.ShowLegend(Edge.Right);
        }

        return plot;
    }

    // The library draws no dashes into SVG: each dash is a line of its own, as long in pixels as the others.
    private static void AddDashes(Plot plot, List<(double[] X, double[] Y, Color Colour)> lines, int height)
    {
        const double on = 9, off = 6, margins = 110;
        var limits = plot.Axes.GetLimits();
        var (scaleX, scaleY) = ((Width - (2 * margins)) / limits.HorizontalSpan, (height - margins) / limits.VerticalSpan);
        foreach (var (x, y, colour) in lines)
        {
            var phase = 0.0;
            for (var i = 1; i < x.Length; i++)
            {
                var length = Math.Sqrt(Math.Pow((x[i] - x[i - 1]) * scaleX, 2) + Math.Pow((y[i] - y[i - 1]) * scaleY, 2));
                for (var at = -phase; at < length; at += on + off)
                {
                    var (from, to) = (Math.Max(at, 0) / length, Math.Min(at + on, length) / length);
                    if (to > from)
                    {
                        var (dx, dy) = (x[i] - x[i - 1], y[i] - y[i - 1]);
                        var dash = plot.Add.Line(
                            x[i - 1] + (from * dx), y[i - 1] + (from * dy), x[i - 1] + (to * dx), y[i - 1] + (to * dy));
                        dash.Color = colour;
                        dash.LineWidth = 2;
                    }
                }

                phase = (phase + length) % (on + off);
            }
        }
    }

    private static void SetTicks(Plot plot, Panel panel, Func<double, double> along, Func<double, double> up)
    {
        if (panel.LogY && panel.TicksY is null)
        {
            plot.Axes.Left.TickGenerator = Logarithmic();
        }

        if (panel.LogX && panel.TicksX is null)
        {
            plot.Axes.Bottom.TickGenerator = Logarithmic();
        }

        if (panel.TicksY is { } ticksY)
        {
            plot.Axes.Left.SetTicks([.. ticksY.Select(up)], [.. ticksY.Select(t => t.ToString(CultureInfo.InvariantCulture))]);
        }

        if (panel.TicksX is { } ticksX)
        {
            plot.Axes.Bottom.SetTicks([.. ticksX.Select(t => along(t.Position))], [.. ticksX.Select(t => t.Label)]);
        }
    }

    private static ScottPlot.TickGenerators.NumericAutomatic Logarithmic() => new()
    {
        MinorTickGenerator = new ScottPlot.TickGenerators.LogMinorTickGenerator(),
        IntegerTicksOnly = true,
        LabelFormatter = exponent => $"1e{exponent:0}",
    };
}
