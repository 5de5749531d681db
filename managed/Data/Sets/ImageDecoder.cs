using SkiaSharp;

namespace ResNetNodes.Data;

/// <summary>Decodes JPEG, PNG, WebP and BMP images to planes of red, green and blue. The format is detected from the content.</summary>
internal static class ImageDecoder
{
    // More than cameras take; the decoder needs eight bytes for each.
    private const int MostPixels = 1 << 27;
    private static readonly SKEncodedImageFormat[] Formats =
        [SKEncodedImageFormat.Jpeg, SKEncodedImageFormat.Png, SKEncodedImageFormat.Webp, SKEncodedImageFormat.Bmp];

    /// <summary>
    /// Decodes an image: grey becomes three equal channels, CMYK becomes red, green and blue; transparency, colour profiles and orientation
    /// are ignored. The failure is a short phrase, or null.
    /// </summary>
    public static ImageBytes? Decode(byte[] file, out string? failure)
    {
        using var data = SKData.CreateCopy(file);
        using var codec = SKCodec.Create(data);
        if (codec is null || !Formats.Contains(codec.EncodedFormat))
        {
            failure = file.Length == 0 ? "is empty" : "is not a JPEG, PNG, WebP or BMP image";
            return null;
        }

        var (width, height) = (codec.Info.Width, codec.Info.Height);
        if ((long)width * height > MostPixels)
        {
            failure = $"is {DataFile.Number(height)}×{DataFile.Number(width)}, more than {DataFile.Number(MostPixels)} pixels";
            return null;
        }

        // Without a colour space of the result nothing is converted.
        using var pixels = new SKBitmap();
        if (!pixels.TryAllocPixels(new SKImageInfo(width, height, SKColorType.Rgba8888, SKAlphaType.Unpremul)))
        {
            throw new OutOfMemoryException($"an image of {DataFile.Number(height)}×{DataFile.Number(width)} pixels");
        }

        var result = codec.GetPixels(pixels.Info, pixels.GetPixels());
        if (result != SKCodecResult.Success)
        {
            failure = result == SKCodecResult.IncompleteInput ? "is truncated" : $"is damaged ({result})";
            return null;
        }

        failure = null;
        return new ImageBytes(Planes(pixels.GetPixelSpan(), width * height), 3, height, width);
    }

    private static byte[] Planes(ReadOnlySpan<byte> rgba, int count)
    {
        var planes = new byte[3 * count];
        for (var channel = 0; channel < 3; channel++)
        {
            var plane = planes.AsSpan(channel * count, count);
            for (var i = 0; i < plane.Length; i++)
            {
                plane[i] = rgba[(4 * i) + channel];
            }
        }

        return planes;
    }
}
