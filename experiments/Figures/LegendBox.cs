using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>A series and the colour that it is drawn in.</summary>
internal sealed record ColouredSeries(Series Series, SKColor Colour);

/// <summary>The labels of series beside what is drawn of each: stroke, mark, band and colour; in rows.</summary>
/// <param name="entries">The series.</param>
/// <param name="width">How much room there is.</param>
internal sealed class LegendBox(IReadOnlyList<ColouredSeries> entries, float width)
{
    private const float Sample = 36, Gap = 6, Between = 22, RowHeight = 22;

    private readonly float size = MathF.Min(
        FigureText.Label,
        entries.Count == 0 ? FigureText.Label : entries.Min(e => FigureText.Label * (width - Sample - Gap) / Math.Max(1, TextOf(e))));

    public float Height => entries.Count == 0 ? 0 : (Places().Max(p => p.Row) + 1) * RowHeight;

    public void Draw(SKCanvas canvas, float left, float top)
    {
        foreach (var (entry, (row, x)) in entries.Zip(Places()))
        {
            var (from, y) = (left + x, top + (row * RowHeight) + (RowHeight / 2));
            var isCloud = entry.Series.Stroke == Stroke.None;
            var to = from + SampleOf(entry);
            if (entry.Series.Band is not null)
            {
                Pen.Band(canvas, [(from, y + 7), (to, y + 7)], [(from, y - 7), (to, y - 7)], new(from, y - 7, to, y + 7), entry.Colour);
            }

            Pen.Line(canvas, [(from, y), (to, y)], SKRect.Create(from, y - 9, to - from, 18), entry.Series.Stroke, entry.Colour);
            Pen.Marks(canvas, [((from + to) / 2, y)], entry.Series, entry.Colour, isCloud ? Math.Min(2, entry.Series.X.Count) : 1);
            FigureText.Draw(canvas, [entry.Series.Label], to + Gap, y - (0.65f * size), size);
        }
    }

    private static float TextOf(ColouredSeries entry) => FigureText.WidthOf(entry.Series.Label, FigureText.Label);

    // A cloud's mark has no line beside it.
    private static float SampleOf(ColouredSeries entry) => entry.Series.Stroke == Stroke.None ? Sample / 3 : Sample;

    private float WidthOf(ColouredSeries entry) => SampleOf(entry) + Gap + FigureText.WidthOf(entry.Series.Label, size);

    // In one row where they fit, else in columns.
    private IReadOnlyList<(int Row, float X)> Places()
    {
        if (entries.Sum(WidthOf) + ((entries.Count - 1) * Between) <= width)
        {
            return [.. entries.Select((_, i) => (0, entries.Take(i).Sum(e => WidthOf(e) + Between)))];
        }

        var column = entries.Max(WidthOf) + Between;
        var columns = Math.Max(1, (int)((width + Between) / column));
        return [.. entries.Select((_, i) => (i / columns, i % columns * column))];
    }
}
