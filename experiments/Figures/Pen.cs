using SkiaSharp;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// Lines and marks of series, in pixels: in a figure and in its legend alike. Dashes are pieces of a path, for SVG as for PNG.
/// </summary>
internal static class Pen
{
    private const float Width = 2, Size = 7.5f, CloudSize = 4.5f;
    private const byte BandAlpha = 40;

    // Points on top of each other are darker as long as they are in different paths.
    private const int Paths = 24;

    /// <summary>Draws a line, as far as it is inside of a rectangle.</summary>
    public static void Line(SKCanvas canvas, IReadOnlyList<(double X, double Y)> points, SKRect inside, Stroke stroke, SKColor colour)
    {
        if (stroke == Stroke.None)
        {
            return;
        }

        var (on, off) = stroke switch { Stroke.Dashed => (8.0, 5.0), Stroke.Dotted => (0.01, 4.5), _ => (double.PositiveInfinity, 0.0) };
        using var path = new SKPath();
        var along = 0.0;
        (double X, double Y)? pen = null;
        for (var i = 1; i < points.Count; i++)
        {
            if (Clip(points[i - 1], points[i], inside) is not var (a, b))
            {
                pen = null;
                continue;
            }

            var length = Math.Sqrt(Math.Pow(b.X - a.X, 2) + Math.Pow(b.Y - a.Y, 2));
            (double X, double Y) At(double part) =>
                length > 0 ? (a.X + ((b.X - a.X) * part / length), a.Y + ((b.Y - a.Y) * part / length)) : a;
            for (var done = 0.0; done < length;)
            {
                var piece = Math.Min(length - done, along < on ? on - along : on + off - along);
                if (along < on)
                {
                    if (pen != a || done > 0)
                    {
                        path.MoveTo(Round(At(done)));
                    }

                    path.LineTo(Round(At(done + piece)));
                }

                pen = along < on && done + piece >= length ? b : null;
                done += piece;
                along += piece;
                along = along >= on + off - 1e-9 ? 0 : along;
            }
        }

        using var paint = new SKPaint
        {
            Style = SKPaintStyle.Stroke,
            StrokeWidth = stroke == Stroke.Dotted ? 1.3f * Width : Width,
            StrokeCap = stroke == Stroke.Dashed ? SKStrokeCap.Butt : SKStrokeCap.Round,
            StrokeJoin = SKStrokeJoin.Round,
            Color = colour,
            IsAntialias = true,
        };
        canvas.DrawPath(path, paint);
    }

    /// <summary>Draws marks: of a line whole ones, of a cloud small ones that let others shine through.</summary>
    public static void Marks(SKCanvas canvas, IReadOnlyList<(double X, double Y)> points, Series series, SKColor colour, int cloud)
    {
        if (series.Marker == Marker.None || points.Count == 0)
        {
            return;
        }

        var isCloud = series.Stroke == Stroke.None && cloud > 1;
        var size = isCloud && cloud > 50 ? CloudSize : Size;
        var shown = isCloud ? colour.WithAlpha((byte)(cloud > 500 ? 90 : cloud > 50 ? 140 : 255)) : colour;
        if (series.Marker == Marker.Circle)
        {
            Circles(canvas, points, size / 2, shown, isCloud);
            return;
        }

        foreach (var part in points.Index().GroupBy(p => isCloud ? p.Index % Paths : 0, p => p.Item))
        {
            using var path = new SKPath();
            foreach (var point in part)
            {
                AddMark(path, Round(point), series.Marker, size / 2);
            }

            // A point of no length under a round cap is a disc, in a tenth of what a circle takes.
            using var paint = new SKPaint
            {
                Style = series.Marker == Marker.Disc ? SKPaintStyle.Stroke : SKPaintStyle.Fill,
                StrokeWidth = size,
                StrokeCap = SKStrokeCap.Round,
                Color = shown,
                IsAntialias = true,
            };
            canvas.DrawPath(path, paint);
        }
    }

    /// <summary>Fills what lies between two lines, as far as it is inside of a rectangle.</summary>
    public static void Band(
        SKCanvas canvas, IReadOnlyList<(double X, double Y)> low, IReadOnlyList<(double X, double Y)> high, SKRect inside, SKColor colour)
    {
        using var path = new SKPath();
        path.AddPoly([.. low.Concat(high.Reverse()).Select(p => Round((p.X, Math.Clamp(p.Y, inside.Top - 9, inside.Bottom + 9))))]);
        using var paint = new SKPaint { Color = colour.WithAlpha(BandAlpha), IsAntialias = true };
        canvas.Save();
        canvas.ClipRect(inside);
        canvas.DrawPath(path, paint);
        canvas.Restore();
    }

    // Open ones on a ground of their own, so that no line goes through them.
    private static void Circles(SKCanvas canvas, IReadOnlyList<(double X, double Y)> points, float radius, SKColor colour, bool isCloud)
    {
        using var ground = new SKPaint { Color = SKColors.White, IsAntialias = true };
        using var paint = new SKPaint { Style = SKPaintStyle.Stroke, StrokeWidth = 0.8f * Width, Color = colour, IsAntialias = true };
        foreach (var point in points)
        {
            if (!isCloud)
            {
                canvas.DrawCircle(Round(point), radius, ground);
            }

            canvas.DrawCircle(Round(point), radius, paint);
        }
    }

    private static void AddMark(SKPath path, SKPoint at, Marker marker, float half)
    {
        switch (marker)
        {
            case Marker.Triangle:
                var (wide, up, down) = (1.15f * half, 1.25f * half, 0.85f * half);
                path.AddPoly([new(at.X, at.Y - up), new(at.X + wide, at.Y + down), new(at.X - wide, at.Y + down)]);
                break;
            case Marker.Square:
                path.AddRect(new SKRect(at.X - half, at.Y - half, at.X + half, at.Y + half));
                break;
            default:
                path.MoveTo(at);
                path.LineTo(at);
                break;
        }
    }

    // Liang and Barsky's: what of a line is inside of a rectangle.
    private static ((double X, double Y) From, (double X, double Y) To)? Clip(
        (double X, double Y) a, (double X, double Y) b, SKRect inside)
    {
        var (dx, dy) = (b.X - a.X, b.Y - a.Y);
        var (from, to) = (0.0, 1.0);
        (double Step, double Room)[] sides =
            [(-dx, a.X - inside.Left), (dx, inside.Right - a.X), (-dy, a.Y - inside.Top), (dy, inside.Bottom - a.Y)];
        foreach (var (step, room) in sides)
        {
            if (step < 0)
            {
                from = Math.Max(from, room / step);
            }
            else if (step > 0)
            {
                to = Math.Min(to, room / step);
            }
            else if (room < 0)
            {
                return null;
            }
        }

        (double, double) At(double part) => part switch { 0 => a, 1 => b, _ => (a.X + (part * dx), a.Y + (part * dy)) };
        return from > to ? null : (At(from), At(to));
    }

    // A tenth of a pixel is enough, and short in SVG.
    private static SKPoint Round((double X, double Y) point) => new(MathF.Round((float)point.X, 1), MathF.Round((float)point.Y, 1));
}
