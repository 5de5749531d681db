using ResNetNodes.Data;
using SkiaSharp;

namespace ResNetNodes.Tests;

/// <summary>Images whose every pixel is known.</summary>
internal static class TestImages
{
    /// <summary>One pixel of a decoded image.</summary>
    public static (byte Red, byte Green, byte Blue) Pixel(ImageBytes image, int place)
    {
        var plane = image.Height * image.Width;
        return (image.Values.Span[place], image.Values.Span[plane + place], image.Values.Span[(2 * plane) + place]);
    }

    /// <summary>A bitmap by its pixels.</summary>
    public static SKBitmap Colour(int width, int height, Func<int, int, SKColor> at)
    {
        var bitmap = new SKBitmap(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Unpremul));
        bitmap.Pixels = [.. Enumerable.Range(0, width * height).Select(p => at(p % width, p / width))];
        return bitmap;
    }

    /// <summary>
    /// As in Microsoft's documentation: BITMAPFILEHEADER, BITMAPINFOHEADER, rows of blue, green, red from the bottom, filled up to
    /// 4 bytes.
    /// </summary>
    public static byte[] Bitmap(int width, int height, Func<int, int, SKColor> at)
    {
        var row = ((3 * width) + 3) / 4 * 4;
        var file = new byte[54 + (row * height)];
        "BM"u8.CopyTo(file);
        foreach (var (place, value) in new[] { (2, file.Length), (10, 54), (14, 40), (18, width), (22, height), (26, 1 | (24 << 16)) })
        {
            BitConverter.TryWriteBytes(file.AsSpan(place), value);
        }

        for (var p = 0; p < width * height; p++)
        {
            var colour = at(p % width, p / width);
            byte[] pixel = [colour.Blue, colour.Green, colour.Red];
            pixel.CopyTo(file, 54 + ((height - 1 - (p / width)) * row) + (3 * (p % width)));
        }

        return file;
    }

    /// <summary>A baseline JPEG of one 8×8 block of one value a component: its mean (DC) alone, in units of an eighth.</summary>
    public static byte[] FlatJpeg(byte[] values)
    {
        var bits = string.Empty;
        foreach (var value in values)
        {
            // All DC categories 0 to 11 have codes of four bits: the category's number. The block's end is the one AC code, 0.
            var mean = 8 * (value - 128);
            var category = mean == 0 ? 0 : (int)Math.Log2(Math.Abs(mean)) + 1;
            bits += Convert.ToString(category, 2).PadLeft(4, '0');
            bits += category == 0 ? string.Empty : Convert.ToString(mean > 0 ? mean : mean + (1 << category) - 1, 2).PadLeft(category, '0');
            bits += "0";
        }

        bits = bits.PadRight((bits.Length + 7) / 8 * 8, '1');
        var scan = Enumerable.Range(0, bits.Length / 8).Select(i => Convert.ToByte(bits.Substring(8 * i, 8), 2))
            .SelectMany(b => b == 0xff ? [b, (byte)0] : new[] { b });
        var n = (byte)values.Length;
        byte[] adobe = n == 4 ? [0xff, 0xee, 0, 14, .. "Adobe"u8, 0, 100, 0, 0, 0, 0, 0] : [];
        return
        [
            0xff, 0xd8, .. adobe,
            0xff, 0xdb, 0, 67, 0, .. Enumerable.Repeat((byte)1, 64),
            0xff, 0xc0, 0, (byte)(8 + (3 * n)), 8, 0, 8, 0, 8, n,
            .. Enumerable.Range(1, n).SelectMany(c => new byte[] { (byte)c, 0x11, 0 }),
            0xff, 0xc4, 0, 31, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, .. Enumerable.Range(0, 12).Select(c => (byte)c),
            0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0xff, 0xda, 0, (byte)(6 + (2 * n)), n, .. Enumerable.Range(1, n).SelectMany(c => new byte[] { (byte)c, 0 }), 0, 63, 0, .. scan,
            0xff, 0xd9,
        ];
    }

    /// <summary>Writes an image; folders are made.</summary>
    public static void Save(string path, SKBitmap bitmap, SKEncodedImageFormat format)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        using var data = bitmap.Encode(format, 100);
        File.WriteAllBytes(path, data.ToArray());
    }
}
