using System.Globalization;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Training;
using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// Figures with the paper's axes and colours, as PNG and SVG. The CSV that each is drawn from is the verb's own.
/// </summary>
internal static class PaperFigure
{
    public const string DarkBlue = "#14306e";
    public const string Red = "#c82423";

    // Pixels of the PNG to one of the layout: sharp on paper and on dense screens.
    private const int Scale = 2;

    // Okabe and Ito's, which people tell apart who see few colours; not their yellow, which is none on white.
    private static readonly string[] Palette = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000"];

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

    /// <summary>The colour of a way back, the same in all figures.</summary>
    public static string ColourOfMethod(string method) => method switch
    {
        "backprop" => DarkBlue,
        "inverse" => Red,
        "corrected" => "#e69f00",
        "corrected:2" => "#56b4e9",
        "adaptive" => "#009e73",
        "checkpoint" => "#cc79a7",
        "extrapolated" => "#d55e00",
        _ => ColourAt(method.Sum(c => c)),
    };

    /// <summary>A colour of what is compared in one figure.</summary>
    public static string ColourAt(int index) => Palette[Math.Abs(index) % Palette.Length];

    /// <summary>Draws and writes a figure of one panel.</summary>
    public static string Save(RunFolder folder, string name, string title, string x, string y, IReadOnlyList<Series> series) =>
        Save(folder, name, title, new Panel(x, y, series));

    /// <summary>Draws panels beside and below each other, and writes NAME.png and NAME.svg.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="name">Of the files.</param>
    /// <param name="title">What the figure shows, in a sentence: above it, and its caption in the report.</param>
    /// <param name="panels">What is drawn.</param>
    /// <returns>The PNG's path.</returns>
    public static string Save(RunFolder folder, string name, string title, params IReadOnlyList<Panel> panels)
    {
        var layout = new FigureLayout(title, panels);
        return Save(folder, name, title, layout.Width, layout.Height, layout.Draw);
    }

    /// <summary>Draws and writes a figure of any kind.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="name">Of the files.</param>
    /// <param name="title">What the figure shows, in a sentence.</param>
    /// <param name="width">Columns of its layout.</param>
    /// <param name="height">Rows of its layout.</param>
    /// <param name="draw">Draws it, on whatever canvas.</param>
    /// <returns>The PNG's path.</returns>
    public static string Save(RunFolder folder, string name, string title, int width, int height, Action<SKCanvas> draw)
    {
        using (var surface = SKSurface.Create(new SKImageInfo(Scale * width, Scale * height)))
        {
            surface.Canvas.Scale(Scale);
            draw(surface.Canvas);
            using var image = surface.Snapshot();
            using var png = image.Encode(SKEncodedImageFormat.Png, 100);
            folder.Write(name + ".png", png.ToArray());
        }

        using var stream = new MemoryStream();
        using (var canvas = SKSvgCanvas.Create(new SKRect(0, 0, width, height), stream))
        {
            draw(canvas);
        }

        folder.Write(name + ".svg", SvgText.Portable(stream.ToArray(), width, height));
        folder.AddFigure(name + ".svg", title);
        return folder.File(name + ".png");
    }
}
