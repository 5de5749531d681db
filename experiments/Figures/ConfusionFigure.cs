using System.Globalization;
using ResNetNodes.Experiments.Runs;
using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// What is taken for what: a row for each class, a column for what its images were taken for, darker the larger their share of the row.
/// </summary>
internal static class ConfusionFigure
{
    private const int MostClasses = 200, Side = 640, LargestCell = 56, Margin = 14, Gap = 8, MostLetters = 24;
    private static readonly SKColor Dark = SKColor.Parse(PaperFigure.DarkBlue), Line = new(0xe3, 0xe6, 0xea);

    /// <summary>Draws it and writes NAME.png and NAME.svg.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="name">Of the files.</param>
    /// <param name="title">Above it.</param>
    /// <param name="nameOf">A class as people read it.</param>
    /// <param name="classes">How many there are.</param>
    /// <param name="pairs">Images of a class that were taken for which.</param>
    /// <returns>The PNG's path; null where there are too many classes to tell one from the other.</returns>
    public static string? Save(
        RunFolder folder, string name, string title, Func<int, string> nameOf, int classes,
        IReadOnlyList<(int Label, int Predicted, long Images)> pairs)
    {
        if (classes > MostClasses)
        {
            return null;
        }

        var cell = Math.Clamp(Side / classes, 3, LargestCell);
        // Where lines are too near to each other for letters, only some have them.
        var step = (int)Math.Ceiling(FigureText.HeightOf(FigureText.Small) / cell);
        List<(int Label, string Text)> rows = [.. Shown(classes, step).Select(label => (label, RowOf(label, nameOf(label))))];
        var widest = rows.Max(row => FigureText.WidthOf(row.Text, FigureText.Small));
        var columnStep = (int)Math.Ceiling((FigureText.WidthOf($"{classes - 1}", FigureText.Small) + 6) / cell);
        var left = Margin + (int)widest + Gap;
        var width = Math.Max(left + (classes * cell) + Margin, 560);
        var lines = FigureText.Wrap(title, FigureText.Title, true, width - (2 * Margin));
        var head = Margin + (lines.Count * (int)FigureText.HeightOf(FigureText.Title)) + Gap;
        var text = (int)FigureText.HeightOf(FigureText.Small);
        var top = head + (2 * text) + Gap;
        return PaperFigure.Save(folder, name, title, width, top + (classes * cell) + Margin, canvas =>
        {
            canvas.Clear(SKColors.White);
            FigureText.Draw(canvas, lines, Margin, Margin, FigureText.Title, bold: true);
            FigureText.Draw(canvas, ["Class: rows. Taken for: columns, by number."], left, head, FigureText.Small);
            foreach (var (label, row) in rows)
            {
                var y = top + ((label + 0.5f) * cell) - (0.65f * FigureText.Small);
                FigureText.Draw(canvas, [row], left - Gap - FigureText.WidthOf(row, FigureText.Small), y, FigureText.Small);
            }

            foreach (var label in Shown(classes, columnStep))
            {
                var x = left + ((label + 0.5f) * cell) - (0.5f * FigureText.WidthOf($"{label}", FigureText.Small));
                FigureText.Draw(canvas, [$"{label}"], x, head + text + (Gap / 2), FigureText.Small);
            }

            Cells(canvas, left, top, cell, pairs);
            Frame(canvas, SKRect.Create(left, top, classes * cell, classes * cell));
        });
    }

    private static IEnumerable<int> Shown(int classes, int step) => Enumerable.Range(0, classes).Where(label => label % step == 0);

    private static string RowOf(int label, string name)
    {
        var number = label.ToString(CultureInfo.InvariantCulture);
        var line = OneLine.Of(name, MostLetters);
        return name == number || !FigureText.Shows(line) ? number : $"{line}{(name.Length > MostLetters ? "…" : string.Empty)}  {number}";
    }

    private static void Cells(SKCanvas canvas, int left, int top, int cell, IReadOnlyList<(int Label, int Predicted, long Images)> pairs)
    {
        var sums = pairs.GroupBy(pair => pair.Label).ToDictionary(row => row.Key, row => row.Sum(pair => pair.Images));
        foreach (var (label, predicted, images) in pairs)
        {
            var share = (double)images / sums[label];
            var (x, y) = (left + (predicted * cell), top + (label * cell));
            using (var paint = new SKPaint { Color = Shade(share) })
            {
                canvas.DrawRect(SKRect.Create(x, y, cell, cell), paint);
            }

            var text = images.ToString(CultureInfo.InvariantCulture);
            var wide = FigureText.WidthOf(text, FigureText.Small);
            if (wide + 4 <= cell)
            {
                FigureText.Draw(
                    canvas, [text], x + ((cell - wide) / 2), y + (0.5f * cell) - (0.65f * FigureText.Small), FigureText.Small,
                    colour: share > 0.5 ? SKColors.White : FigureText.Ink);
            }
        }
    }

    // A single image of many is still seen.
    private static SKColor Shade(double share)
    {
        var part = 0.08 + (0.92 * share);
        byte Mix(byte full) => (byte)Math.Round(255 - ((255 - full) * part));
        return new(Mix(Dark.Red), Mix(Dark.Green), Mix(Dark.Blue));
    }

    private static void Frame(SKCanvas canvas, SKRect around)
    {
        using var paint = new SKPaint { Color = Line, Style = SKPaintStyle.Stroke, StrokeWidth = 1 };
        canvas.DrawRect(around, paint);
    }
}
