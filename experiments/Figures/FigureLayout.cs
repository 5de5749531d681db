using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// Where the title, the legend and the panels of a figure lie: one panel, a row of two or three, two rows of two, or more rows.
/// </summary>
internal sealed class FigureLayout
{
    private const int Margin = 14, Gap = 8;

    private readonly List<PanelDrawing> panels;
    private readonly IReadOnlyList<string> title;
    private readonly LegendBox? legend;
    private readonly int columns, dataWidth, dataHeight;
    private readonly int[] lefts, heads;

    public FigureLayout(string title, IReadOnlyList<Panel> drawn)
    {
        panels = [.. drawn.Select(panel => new PanelDrawing(panel))];
        columns = panels.Count switch { 1 => 1, 2 or 4 => 2, _ => 3 };
        Width = columns == 3 ? 1080 : 900;
        dataHeight = columns switch { 1 => 400, 2 => 290, _ => 270 };
        lefts =
        [
            .. Enumerable.Range(0, columns).Select(column => panels.Index().Where(p => p.Index % columns == column)
                .Select(p => p.Item.LeftOf(dataHeight, IsLabelled(p.Index))).DefaultIfEmpty(0).Max()),
        ];
        dataWidth = (Width - (2 * Margin) - lefts.Sum() - ((columns - 1) * 2 * Gap)) / columns;
        this.title = FigureText.Wrap(title, FigureText.Title, true, Width - (2 * Margin));
        legend = Common() is { } common ? new(common, Width - (2 * Margin)) : null;
        heads = [.. panels.Chunk(columns).Select(row => row.Max(HeadOf))];
        Height = Top + heads.Sum() + (heads.Length * (dataHeight + PanelDrawing.Bottom + Gap));
    }

    public int Width { get; }

    public int Height { get; }

    private int TitleHeight => Margin + (int)(title.Count * FigureText.HeightOf(FigureText.Title)) + Gap;

    private int Top => TitleHeight + (legend is { } box ? (int)box.Height + Gap : 0);

    public void Draw(SKCanvas canvas)
    {
        canvas.Clear(SKColors.White);
        FigureText.Draw(canvas, title, Margin, Margin, FigureText.Title, bold: true);
        legend?.Draw(canvas, Margin, TitleHeight);
        var y = Top;
        foreach (var (row, drawn) in panels.Chunk(columns).Index())
        {
            float x = Margin;
            foreach (var (column, panel) in drawn.Index())
            {
                x += lefts[column];
                var lines = TitleOf(panel);
                FigureText.Draw(canvas, lines, x, y, FigureText.Label, bold: true);
                if (legend is null)
                {
                    LegendOf(panel).Draw(canvas, x, y + (lines.Count * FigureText.HeightOf(FigureText.Label)));
                }

                var data = SKRect.Create(x, y + heads[row], dataWidth, dataHeight);
                panel.Draw(canvas, data, lefts[column], IsLabelled((row * columns) + column));
                x += dataWidth + (2 * Gap);
            }

            y += heads[row] + dataHeight + PanelDrawing.Bottom + Gap;
        }
    }

    private int HeadOf(PanelDrawing panel) => (int)(TitleOf(panel).Count * FigureText.HeightOf(FigureText.Label))
        + (legend is null ? (int)LegendOf(panel).Height : 0) + Gap;

    private IReadOnlyList<string> TitleOf(PanelDrawing panel) => FigureText.Wrap(panel.Title, FigureText.Label, true, dataWidth);

    private LegendBox LegendOf(PanelDrawing panel) => new(Labelled(panel), dataWidth);

    // The leftmost of a row of the same ordinates tells what they are.
    private bool IsLabelled(int index) => index % columns == 0 || panels[index].LabelY != panels[index - 1].LabelY;

    private static List<ColouredSeries> Labelled(PanelDrawing panel) => [.. panel.Series.Where(s => s.Series.Label.Length > 0)];

    // One legend, if every panel shows the series of the one that has most of them, or some of these, in the same way.
    private List<ColouredSeries>? Common()
    {
        var most = panels.Select(Labelled).MaxBy(entries => entries.Count)!;
        static (string, SKColor, Stroke, Marker) Look(ColouredSeries s) => (s.Series.Label, s.Colour, s.Series.Stroke, s.Series.Marker);
        bool IsKnown(ColouredSeries entry) => most.Exists(other => Look(other) == Look(entry));
        return panels.TrueForAll(panel => Labelled(panel).TrueForAll(IsKnown)) ? most : null;
    }
}
