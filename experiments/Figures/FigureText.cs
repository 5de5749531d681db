using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>Letters of figures: one family, measured, wrapped and drawn.</summary>
internal static class FigureText
{
    public const float Small = 14, Label = 15, Title = 18;

    /// <summary>The family that figures are measured and drawn with: the first of these that the machine has.</summary>
    public static readonly string Family = new[] { "DejaVu Sans", "Verdana", "Noto Sans", "Liberation Sans", "Arial", "Helvetica" }
        .FirstOrDefault(SKFontManager.Default.FontFamilies.Contains) ?? SKTypeface.Default.FamilyName;

    public static readonly SKColor Ink = new(0x22, 0x22, 0x22);

    private static readonly SKTypeface Regular = SKTypeface.FromFamilyName(Family);

    private static readonly SKTypeface Heavy = SKTypeface.FromFamilyName(Family, SKFontStyle.Bold);

    /// <summary>Whether the family can show a text.</summary>
    public static bool Shows(string text) => Regular.ContainsGlyphs(text);

    public static float WidthOf(string text, float size, bool bold = false)
    {
        using var font = FontOf(size, bold);
        return font.MeasureText(text);
    }

    /// <summary>Lines of words that are no wider than that; a word that is wider has a line of its own.</summary>
    public static IReadOnlyList<string> Wrap(string text, float size, bool bold, float width)
    {
        var lines = new List<string>();
        foreach (var word in text.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (lines.Count > 0 && WidthOf(lines[^1] + " " + word, size, bold) <= width)
            {
                lines[^1] += " " + word;
            }
            else
            {
                lines.Add(word);
            }
        }

        return lines;
    }

    /// <summary>Draws lines below each other; the first begins at its left upper corner.</summary>
    public static void Draw(
        SKCanvas canvas, IReadOnlyList<string> lines, float left, float top, float size, bool bold = false, SKColor? colour = null)
    {
        using var font = FontOf(size, bold);
        using var paint = new SKPaint { Color = colour ?? Ink, IsAntialias = true };
        foreach (var (i, line) in lines.Index())
        {
            canvas.DrawText(line, left, top + (i * HeightOf(size)) + size, SKTextAlign.Left, font, paint);
        }
    }

    /// <summary>From a line to the next.</summary>
    public static float HeightOf(float size) => MathF.Ceiling(1.3f * size);

    private static SKFont FontOf(float size, bool bold) => new(bold ? Heavy : Regular, size) { Subpixel = true };
}
