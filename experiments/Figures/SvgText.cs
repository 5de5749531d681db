using System.Globalization;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// Texts of an SVG, so that they look alike on machines with other fonts: the library places every letter for the font that it measured;
/// a browser is told where a text begins and how long it is, and families to choose from.
/// </summary>
internal static class SvgText
{
    // Verdana is as wide as the first.
    private const string Families = "'DejaVu Sans', Verdana, Geneva, sans-serif";

    public static byte[] Portable(byte[] svg, int width, int height)
    {
        var document = XDocument.Load(new MemoryStream(svg));
        document.Root!.SetAttributeValue("viewBox", $"0 0 {width} {height}");
        foreach (var text in document.Descendants().Where(e => e.Name.LocalName == "text"))
        {
            var (x, y) = (Numbers(text, "x"), Numbers(text, "y"));
            if (x.Length == 0 || y.Length == 0)
            {
                continue;
            }

            text.Value = text.Value.Trim();
            text.SetAttributeValue("font-family", Families);
            text.SetAttributeValue("x", x[0]);
            text.SetAttributeValue("y", y[0]);
            if (x.Length > 1)
            {
                var size = Numbers(text, "font-size")[0];
                var last = FigureText.WidthOf(text.Value[^1..], size, text.Attribute("font-weight") is not null);
                text.SetAttributeValue("textLength", MathF.Round(x[^1] + last - x[0], 1));
                text.SetAttributeValue("lengthAdjust", "spacingAndGlyphs");
            }
        }

        using var stream = new MemoryStream();
        using (var writer = XmlWriter.Create(stream, new() { Encoding = new UTF8Encoding(false), Indent = true, NewLineChars = "\n" }))
        {
            document.Save(writer);
        }

        return stream.ToArray();
    }

    private static float[] Numbers(XElement element, string name) =>
    [
        .. (element.Attribute(name)?.Value ?? string.Empty)
            .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(number => float.Parse(number, CultureInfo.InvariantCulture)),
    ];
}
