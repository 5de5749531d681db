using ScottPlot;
using ScottPlot.TickGenerators;
using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>A panel on its way to a picture: what its axes span, where they are labelled, and what is drawn between them.</summary>
internal sealed class PanelDrawing
{
    /// <summary>Room below the axes for numbers and the label.</summary>
    public const int Bottom = 54;

    private const int TickLength = 5;
    private static readonly Color Ink = Color.FromHex("#222222"), GridColour = Color.FromHex("#e3e6ea");

    private readonly Panel panel;
    private readonly (double Low, double High) rangeX, rangeY;

    public PanelDrawing(Panel panel)
    {
        this.panel = panel;
        // What can't be shown, such as 0 on a logarithmic axis, is left out.
        Series =
        [
            .. panel.Series.Select((series, i) => new ColouredSeries(series, SKColor.Parse(series.Colour ?? PaperFigure.ColourAt(i))))
                .Where(s => PointsOf(s.Series).Count > 0),
        ];
        rangeX = Span(panel.RangeX, Along, Series.SelectMany(s => PointsOf(s.Series)).Select(p => p.X), panel.RangeX is null ? 0.03 : 0,
            IsWhole && !panel.LogX ? 1 : 0);
        rangeY = Span(panel.RangeY, Up, Series.SelectMany(s => Ordinates(s.Series)), 0.05);
    }

    public IReadOnlyList<ColouredSeries> Series { get; }

    public string Title => panel.Title;

    public string LabelY => panel.Y;

    private bool IsWhole => panel.Series.All(s => s.X.All(x => !double.IsFinite(x) || x == Math.Floor(x)));

    /// <summary>Room left of the axes.</summary>
    public int LeftOf(int height, bool isLabelled)
    {
        var widest = TicksY(height).Max(t => (float?)FigureText.WidthOf(t.Label, FigureText.Small)) ?? 0;
        return (int)MathF.Ceiling(widest) + (2 * TickLength) + 6 + (isLabelled ? (int)FigureText.HeightOf(FigureText.Label) + 6 : 0);
    }

    /// <summary>Draws the axes, then what is between them.</summary>
    /// <param name="canvas">Where.</param>
    /// <param name="data">What lies between the axes.</param>
    /// <param name="left">Room left of them.</param>
    /// <param name="isLabelled">Whether the ordinate's label is drawn: beside one that has the same it is not.</param>
    public void Draw(SKCanvas canvas, SKRect data, int left, bool isLabelled)
    {
        const int right = 12, top = 12;
        using (var plot = AxesFor(data, isLabelled))
        {
            plot.Layout.Fixed(new PixelPadding(left, right, Bottom, top));
            plot.Render(canvas, new PixelRect(data.Left - left, data.Right + right, data.Bottom + Bottom, data.Top - top));
        }

        (double X, double Y) Pixel((double X, double Y) point) => (
            data.Left + ((point.X - rangeX.Low) / (rangeX.High - rangeX.Low) * data.Width),
            data.Bottom - ((point.Y - rangeY.Low) / (rangeY.High - rangeY.Low) * data.Height));
        foreach (var (series, colour) in Series.Where(s => s.Series.Band is not null))
        {
            var kept = Enumerable.Range(0, series.X.Count).Where(i => double.IsFinite(Along(series.X[i]))
                && double.IsFinite(Up(series.Band!.Value.Low[i])) && double.IsFinite(Up(series.Band!.Value.High[i]))).ToList();
            List<(double, double)> Edge(IReadOnlyList<double> y) => [.. kept.Select(i => Pixel((Along(series.X[i]), Up(y[i]))))];
            Pen.Band(canvas, Edge(series.Band!.Value.Low), Edge(series.Band!.Value.High), data, colour);
        }

        foreach (var (series, colour) in Series)
        {
            List<(double X, double Y)> points = [.. PointsOf(series).Select(Pixel)];
            Pen.Line(canvas, points, data, series.Stroke, colour);
            var inside = SKRect.Inflate(data, 0.5f, 0.5f);
            var marked = points.Where(p => inside.Contains((float)p.X, (float)p.Y)).ToList();
            Pen.Marks(canvas, marked, series, colour, marked.Count);
        }
    }

    private Plot AxesFor(SKRect data, bool isLabelled)
    {
        var plot = new Plot();
        // Panels share a canvas, whose ground is white: a plot would clear all of it.
        plot.RenderManager.ClearCanvasBeforeEachRender = false;
        plot.FigureBackground.Color = plot.DataBackground.Color = Colors.Transparent;
        plot.Axes.SetLimits(rangeX.Low, rangeX.High, rangeY.Low, rangeY.High);
        plot.Grid.XAxisStyle.IsVisible = false;
        plot.Grid.YAxisStyle.MajorLineStyle.Color = GridColour;
        // The library centres numbers by their box, which has room for descenders.
        plot.Axes.Left.TickLabelStyle.OffsetY = 0.2f * FigureText.Small;
        plot.Axes.Top.FrameLineStyle.IsVisible = plot.Axes.Right.FrameLineStyle.IsVisible = false;
        Label(plot.Axes.Bottom, panel.X, TicksX(data.Width), data.Width);
        Label(plot.Axes.Left, isLabelled ? panel.Y : string.Empty, TicksY(data.Height), data.Height);
        return plot;
    }

    private static void Label(IAxis axis, string text, IReadOnlyList<AxisTick> ticks, float length)
    {
        var generator = new NumericManual();
        foreach (var tick in ticks)
        {
            if (tick.IsMinor)
            {
                generator.AddMinor(tick.At);
            }
            else
            {
                generator.AddMajor(tick.At, tick.Label);
            }
        }

        axis.TickGenerator = generator;
        axis.TickLabelStyle.FontName = axis.Label.FontName = FigureText.Family;
        axis.TickLabelStyle.FontSize = FigureText.Small;
        axis.TickLabelStyle.ForeColor = axis.Label.ForeColor = Ink;
        axis.MajorTickStyle.Length = TickLength;
        axis.MinorTickStyle.Length = 3;
        axis.Label.Text = text;
        axis.Label.Bold = false;
        // A label that is longer than its axis is smaller.
        var room = (length + 40) / FigureText.WidthOf(text + " ", FigureText.Label);
        axis.Label.FontSize = FigureText.Label * MathF.Min(1, room);
    }

    private IReadOnlyList<AxisTick> TicksX(float width)
    {
        static double Extent(string label) => FigureText.WidthOf(label, FigureText.Small);
        var scale = width / (rangeX.High - rangeX.Low);
        return panel.TicksX is { } given
            ? AxisTicks.Thinned([.. given.Select(t => new AxisTick(Along(t.Position), t.Label))], scale, Extent)
            : panel.LogX
                ? AxisTicks.Log(rangeX.Low, rangeX.High, width, Extent)
                : AxisTicks.Linear(rangeX.Low, rangeX.High, (int)Math.Clamp(width / 70, 2, 10), IsWhole);
    }

    private IReadOnlyList<AxisTick> TicksY(float height)
    {
        static double Extent(string label) => FigureText.Small;
        return panel.TicksY is { } given
            ? [.. given.Select(t => new AxisTick(Up(t), AxisTicks.Plain((decimal)t)))]
            : panel.LogY
                ? AxisTicks.Log(rangeY.Low, rangeY.High, height, Extent)
                : AxisTicks.Linear(rangeY.Low, rangeY.High, (int)Math.Clamp(height / 45, 2, 8));
    }

    // Logarithmic axes draw logarithms under ticks that name the numbers.
    private double Along(double x) => panel.LogX ? Math.Log10(x) : x;

    private double Up(double y) => panel.LogY ? Math.Log10(y) : y;

    private List<(double X, double Y)> PointsOf(Series series) =>
    [
        .. series.X.Zip(series.Y, (x, y) => (X: Along(x), Y: Up(y))).Where(p => double.IsFinite(p.X) && double.IsFinite(p.Y)),
    ];

    private IEnumerable<double> Ordinates(Series series) => PointsOf(series).Select(p => p.Y)
        .Concat(series.Band is { } band ? band.Low.Concat(band.High).Select(Up).Where(double.IsFinite) : []);

    // What was asked for, else what is drawn; and somewhat more.
    private static (double Low, double High) Span(
        (double Low, double High)? given, Func<double, double> along, IEnumerable<double> drawn, double margin, double least = 0)
    {
        var all = drawn.DefaultIfEmpty(0).ToList();
        var (low, high) = given is { } range ? (along(range.Low), along(range.High)) : (all.Min(), all.Max());
        if (!double.IsFinite(low) || !double.IsFinite(high))
        {
            (low, high) = (all.Min(), all.Max());
        }

        if (high - low <= 1e-9 * Math.Max(Math.Abs(low), Math.Abs(high)))
        {
            // One number: some of the scale around it.
            var around = Math.Max(least, low == 0 ? 1 : Math.Min(0.5, Math.Abs(low) / 4));
            return (low - around, high + around);
        }

        var beyond = margin * (high - low);
        return (low - beyond, high + beyond);
    }
}
