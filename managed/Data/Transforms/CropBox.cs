namespace ResNetNodes.Data;

/// <summary>A rectangle of an image, in pixels.</summary>
internal readonly record struct CropBox(int Top, int Left, int Height, int Width)
{
    private const double Narrowest = 3.0 / 4;
    private const double Widest = 4.0 / 3;
    private const int Tries = 10;

    /// <summary>
    /// A part of random area (uniform from leastArea of the whole to all of it) and random ratio of width to height (log-uniform
    /// from 3/4 to 4/3). Where ten tries do not fit the image: its centre, as large as the ratios allow.
    /// </summary>
    public static CropBox Draw(Random random, int height, int width, double leastArea)
    {
        for (var i = 0; i < Tries; i++)
        {
            var area = (double)height * width * Between(random, leastArea, 1);
            var ratio = Math.Exp(Between(random, Math.Log(Narrowest), Math.Log(Widest)));
            var w = (int)Math.Round(Math.Sqrt(area * ratio));
            var h = (int)Math.Round(Math.Sqrt(area / ratio));
            if (w > 0 && w <= width && h > 0 && h <= height)
            {
                return new(random.Next(height - h + 1), random.Next(width - w + 1), h, w);
            }
        }

        var fitting = (double)width / height;
        var (high, wide) = fitting < Narrowest ? ((int)Math.Round(width / Narrowest), width)
            : fitting > Widest ? (height, (int)Math.Round(height * Widest))
            : (height, width);
        return new((height - high) / 2, (width - wide) / 2, high, wide);
    }

    private static double Between(Random random, double from, double to) => from + ((to - from) * random.NextDouble());
}
