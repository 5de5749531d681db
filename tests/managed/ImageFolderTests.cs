using ResNetNodes.Data;
using SkiaSharp;
using Xunit;
using static ResNetNodes.Tests.TestImages;

namespace ResNetNodes.Tests;

public sealed class ImageFolderTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("images").FullName;

    public void Dispose() => Directory.Delete(root, recursive: true);

    [Fact]
    public void Load_NumbersClassesAndFilesInOrdinalOrder()
    {
        foreach (var name in new[] { "b/2.jpg", "b/10.PNG", "B/x.JPEG", "a c/ä.jpeg", "b/notes.txt", "b/.hidden.png", ".cache/1.png" })
        {
            Write(name, Colour(4, 4, (x, y) => SKColors.Red), SKEncodedImageFormat.Png);
        }

        var data = ImageFolder.Load(root);
        Assert.Equal(["B", "a c", "b"], data.ClassNames);
        Assert.Equal([0, 1, 2, 2], Enumerable.Range(0, data.Count).Select(data.Label));
        Assert.Equal((3, Path.GetFileName(root)), (data.Classes, data.Name));
        Assert.All(Enumerable.Range(0, 4), i => Assert.Equal(48, data.Read(i)!.Value.Values.Length));
    }

    [Fact]
    public void Png_IsDecodedExactly()
    {
        // Transparent pixels keep their colours, as those who convert to RGB expect.
        static SKColor At(int x, int y) => new((byte)(x * 9), (byte)(y * 11), (byte)((x * y) + 3), (byte)(255 - (40 * (x % 3))));
        Write("a/1.png", Colour(23, 17, At), SKEncodedImageFormat.Png);
        Write("a/2.JPEG", Colour(23, 17, At), SKEncodedImageFormat.Png);
        var data = ImageFolder.Load(root);
        for (var i = 0; i < 2; i++)
        {
            var image = data.Read(i)!.Value;
            Assert.Equal((3, 17, 23), (image.Channels, image.Height, image.Width));
            for (var p = 0; p < 17 * 23; p++)
            {
                var colour = At(p % 23, p / 23);
                Assert.Equal((colour.Red, colour.Green, colour.Blue), Pixel(image, p));
            }
        }
    }

    [Fact]
    public void Jpeg_IsDecodedWithinItsLoss()
    {
        static SKColor At(int x, int y) => new((byte)(3 * x), (byte)(4 * y), (byte)(255 - x - y));
        Write("a/1.jpg", Colour(60, 50, At), SKEncodedImageFormat.Jpeg);
        var image = ImageFolder.Load(root).Read(0)!.Value;
        Assert.Equal((50, 60), (image.Height, image.Width));
        for (var p = 0; p < 3000; p++)
        {
            var (red, green, blue) = Pixel(image, p);
            var colour = At(p % 60, p / 60);
            // Quality 100, colours at half the resolution: 4·3 levels of slope, and rounding.
            Assert.InRange(Math.Abs(red - colour.Red), 0, 14);
            Assert.InRange(Math.Abs(green - colour.Green), 0, 14);
            Assert.InRange(Math.Abs(blue - colour.Blue), 0, 14);
        }
    }

    [Fact]
    public void GreyAndCmyk_BecomeRgb()
    {
        using (var grey = new SKBitmap(new SKImageInfo(9, 8, SKColorType.Gray8)))
        {
            grey.Erase(new SKColor(90, 90, 90));
            Write("a/1.png", grey, SKEncodedImageFormat.Png);
        }

        File.WriteAllBytes(Path.Combine(root, "a/2.jpg"), FlatJpeg([120]));
        // Adobe writes CMYK inverted: 255 is no ink. Red, green, blue are what white less each ink, less black, leaves.
        File.WriteAllBytes(Path.Combine(root, "a/3.jpg"), FlatJpeg([200, 100, 50, 255]));
        File.WriteAllBytes(Path.Combine(root, "a/4.jpg"), FlatJpeg([200, 100, 50, 128]));
        var data = ImageFolder.Load(root);
        var (first, second, third, fourth) = (data.Read(0)!.Value, data.Read(1)!.Value, data.Read(2)!.Value, data.Read(3)!.Value);
        Assert.All(Enumerable.Range(0, 72), p => Assert.Equal((90, 90, 90), Pixel(first, p)));
        Assert.Equal((3, 8, 8), (second.Channels, second.Height, second.Width));
        Assert.All(Enumerable.Range(0, 64), p => Assert.Equal((120, 120, 120), Pixel(second, p)));
        Assert.All(Enumerable.Range(0, 64), p => Assert.Equal((200, 100, 50), Pixel(third, p)));
        Assert.All(Enumerable.Range(0, 64), p => Assert.Equal((100, 50, 25), Pixel(fourth, p)));
    }

    [Theory]
    [InlineData("empty", "is empty")]
    [InlineData("text", "is not a JPEG, PNG, WebP or BMP image")]
    [InlineData("gif", "is not a JPEG, PNG, WebP or BMP image")]
    [InlineData("cut.png", "is truncated")]
    [InlineData("cut.jpg", "is truncated")]
    [InlineData("flipped.png", "is")]
    [InlineData("header alone", "is")]
    public void CorruptImages_AreNamedOrSkipped(string damage, string message)
    {
        var noise = AugmentationTests.RandomImage(3, 40, 40, 1);
        using var picture = Colour(40, 40, (x, y) => new(noise.Values.Span[x], noise.Values.Span[(40 * y) + x], 7));
        Write("a/1.png", picture, SKEncodedImageFormat.Png);
        Write("a/2.jpg", picture, damage.EndsWith("jpg", StringComparison.Ordinal) ? SKEncodedImageFormat.Jpeg : SKEncodedImageFormat.Png);
        var path = Path.Combine(root, "a/2.jpg");
        var whole = File.ReadAllBytes(path);
        File.WriteAllBytes(path, damage switch
        {
            "empty" => [],
            "text" => "not an image at all, but long enough"u8.ToArray(),
            "gif" => [.. "GIF89a"u8, 1, 0, 1, 0, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, 0x3b],
            "flipped.png" => [.. whole[..(whole.Length / 2)], (byte)(whole[whole.Length / 2] ^ 8), .. whole[((whole.Length / 2) + 1)..]],
            "header alone" => whole[..8],
            _ => whole[..(whole.Length / 2)],
        });
        var error = Assert.Throws<ResNetNodesException>(() => ImageFolder.Load(root).Read(1));
        Assert.StartsWith($"{path}: {message}", error.Message);
        Assert.Contains("replace or remove it, or use --skip-corrupt", error.Message);
        Assert.DoesNotContain('\n', error.Message);
        var skipping = ImageFolder.Load(root, skipCorrupt: true);
        Assert.Null(skipping.Read(1));
        Assert.NotNull(skipping.Read(0));
        var loader = new BatchLoader(skipping, Augmentation.ImageNet with { Size = 16, Resize = 18 }, 2, 1, 2);
        foreach (var batch in loader.Epoch(0))
        {
            Assert.Equal(1, batch.Count);
            batch.Dispose();
        }

        Assert.Equal(1, loader.Skipped);
    }

    /// <summary>Of no colour loss: WebP without loss, and BMP as its specification draws it, from the bottom row up.</summary>
    [Fact]
    public void WebpAndBmp_AreDecodedExactly()
    {
        static SKColor At(int x, int y) => new((byte)(x * 9), (byte)(y * 11), (byte)((x * y) + 3));
        Write("a/1.webp", Colour(23, 17, At), SKEncodedImageFormat.Webp);
        File.WriteAllBytes(Path.Combine(root, "a/2.bmp"), Bitmap(23, 17, At));
        var data = ImageFolder.Load(root);
        Assert.Equal(2, data.Count);
        for (var i = 0; i < 2; i++)
        {
            var image = data.Read(i)!.Value;
            Assert.Equal((3, 17, 23), (image.Channels, image.Height, image.Width));
            Assert.All(Enumerable.Range(0, 17 * 23), p =>
            {
                var colour = At(p % 23, p / 23);
                Assert.Equal((colour.Red, colour.Green, colour.Blue), Pixel(image, p));
            });
        }
    }

    /// <summary>As torchvision's ImageFolder: every file below the class's folder is the class's.</summary>
    /// <summary>Under such a folder's name nothing is found: its images would be missing without a word.</summary>
    /// <summary>Each is an image or damaged, and nothing else: no crash, no other exception.</summary>
    [Fact]
    public void AnyDamage_IsAnImageOrDamage()
    {
        var noise = AugmentationTests.RandomImage(3, 40, 40, 1);
        using var picture = Colour(40, 30, (x, y) => new(noise.Values.Span[x], noise.Values.Span[(40 * y) + x], 7));
        var random = new Random(1);
        foreach (
            var format in new[]
                { SKEncodedImageFormat.Jpeg, SKEncodedImageFormat.Png, SKEncodedImageFormat.Webp, SKEncodedImageFormat.Bmp })
        {
            using var data = format == SKEncodedImageFormat.Bmp ? null : picture.Encode(format, 90);
            var whole = data?.ToArray() ?? Bitmap(40, 30, (x, y) => picture.GetPixel(x, y));
            Directory.CreateDirectory(Path.Combine(root, "a"));
            File.WriteAllBytes(Path.Combine(root, "a/1.img.png"), whole);
            var set = ImageFolder.Load(root, skipCorrupt: true);
            Assert.NotNull(set.Read(0));
            for (var trial = 0; trial < 150; trial++)
            {
                var bytes = trial % 3 == 0 ? whole[..random.Next(whole.Length)] : (byte[])whole.Clone();
                for (var change = 0; change < trial % 3 && bytes.Length > 0; change++)
                {
                    bytes[random.Next(Math.Min(bytes.Length, trial % 2 == 0 ? 64 : bytes.Length))] = (byte)random.Next(256);
                }

                File.WriteAllBytes(Path.Combine(root, "a/1.img.png"), bytes);
                Assert.True(set.Read(0) is null or { Channels: 3 });
            }

            // Cut in its last tenth: of a truncated image nothing is taken.
            File.WriteAllBytes(Path.Combine(root, "a/1.img.png"), whole[..(whole.Length * 9 / 10)]);
            Assert.Null(set.Read(0));
        }
    }

    [Fact]
    public void AMessage_IsOneLineWhateverTheName()
    {
        Write("a\nb/1\r\u001b[31m.png", Colour(4, 4, (x, y) => SKColors.Red), SKEncodedImageFormat.Png);
        var data = ImageFolder.Load(root);
        Assert.NotNull(data.Read(0));
        File.WriteAllText(Path.Combine(root, "a\nb/1\r\u001b[31m.png"), "damaged");
        Assert.StartsWith(Path.Combine(root, "a?b/1??[31m.png: is not"), Assert.Throws<ResNetNodesException>(() => data.Read(0)).Message);
    }

    /// <summary>A few bytes that state 2³⁰ pixels and more are refused before memory is taken for them.</summary>
    [Fact]
    public void ImagesThatStateTooManyPixels_AreRefused()
    {
        Directory.CreateDirectory(Path.Combine(root, "a"));
        var bitmap = Bitmap(2, 2, (x, y) => SKColors.Red);
        BitConverter.TryWriteBytes(bitmap.AsSpan(18), 60_000);
        BitConverter.TryWriteBytes(bitmap.AsSpan(22), 60_000);
        File.WriteAllBytes(Path.Combine(root, "a/1.bmp"), bitmap);
        var data = ImageFolder.Load(root);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("a/1.bmp: is", Assert.Throws<ResNetNodesException>(() => data.Read(0)).Message);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1_000_000);
    }

    /// <summary>What the set is made of, in an order: each of these changes is one of the set.</summary>
    [Fact]
    public void UnreadableImages_AreNotSkipped()
    {
        Write("a/1.png", Colour(4, 4, (x, y) => SKColors.Red), SKEncodedImageFormat.Png);
        File.CreateSymbolicLink(Path.Combine(root, "a/2.png"), Path.Combine(root, "gone.png"));
        var error = Assert.Throws<ResNetNodesException>(() => ImageFolder.Load(root, skipCorrupt: true).Read(1));
        Assert.StartsWith($"{Path.Combine(root, "a/2.png")}: can't be read", error.Message);
    }

    [Fact]
    public void Folders_ThatHoldNothingAreNamed()
    {
        Fails(() => ImageFolder.Load(Path.Combine(root, "none")), "none: is not a folder");
        Fails(() => ImageFolder.Load(root), "has no class folders; sort the images");
        Write("a/1.png", Colour(4, 4, (x, y) => SKColors.Red), SKEncodedImageFormat.Png);
        Directory.CreateDirectory(Path.Combine(root, "b"));
        Fails(() => ImageFolder.Load(root), "b: holds no .jpg, .jpeg, .jfif, .jpe, .png, .webp, .bmp file");
        Fails(() => ImageFolder.LoadSplit(root, train: true), "train: is not a folder");
    }

    [Fact]
    public void Splits_NeedTheSameClasses()
    {
        foreach (var name in new[] { "train/a/1.png", "train/b/2.png", "val/a/3.png", "val/b/4.png", "val/b/5.png" })
        {
            Write(name, Colour(4, 4, (x, y) => SKColors.Red), SKEncodedImageFormat.Png);
        }

        Assert.Equal((2, 3), (ImageFolder.LoadSplit(root, train: true).Count, ImageFolder.LoadSplit(root, train: false).Count));
        Directory.Delete(Path.Combine(root, "val/a"), recursive: true);
        Fails(() => ImageFolder.LoadSplit(root, train: false), "val: class a is in only one of train and val");
    }

    [Fact]
    public void Take_GivesEachClassItsTurn()
    {
        foreach (var name in new[] { "a/1.png", "a/2.png", "a/3.png", "b/1.png", "c/1.png", "c/2.png" })
        {
            Write(name, Colour(name[0] - 'a' + 2, name[2] - '0', (x, y) => SKColors.Red), SKEncodedImageFormat.Png);
        }

        var five = ImageFolder.Load(root).Take(5);
        Assert.Equal([0, 0, 1, 2, 2], Enumerable.Range(0, 5).Select(five.Label));
        Assert.Equal(
            [(2, 1), (2, 2), (3, 1), (4, 1), (4, 2)],
            Enumerable.Range(0, 5).Select(i => (five.Read(i)!.Value.Width, five.Read(i)!.Value.Height)));
        Assert.Equal(3, five.Classes);
        Assert.Equal([0, 1], Enumerable.Range(0, 2).Select(five.Take(2).Label));
    }

    [Fact]
    public void Batches_AreTheSameWithAnyNumberOfWorkers()
    {
        for (var i = 0; i < 30; i++)
        {
            var noise = AugmentationTests.RandomImage(3, 60, 60, i);
            using var picture = Colour(20 + i, 49 - i, (x, y) => new(noise.Values.Span[(60 * y) + x], (byte)x, (byte)y));
            Write($"class {i % 3}/{i}.jpg", picture, i % 2 == 0 ? SKEncodedImageFormat.Jpeg : SKEncodedImageFormat.Png);
        }

        File.WriteAllText(Path.Combine(root, "class 1/4.jpg"), "damaged");
        List<float> Taken(int workers)
        {
            var all = new List<float>();
            foreach (
                var batch in new BatchLoader(
                    ImageFolder.Load(root, skipCorrupt: true), Augmentation.ImageNet with { Size = 12, Resize = 14 }, 7, 3, workers)
                    .Epoch(1))
            {
                using (batch)
                {
                    all.AddRange([.. batch.Images.data<float>(), .. batch.Labels.data<long>().Select(l => (float)l)]);
                }
            }

            return all;
        }

        var one = Taken(1);
        Assert.Equal(29 * ((3 * 12 * 12) + 1), one.Count);
        Assert.Equal(one, Taken(2));
        Assert.Equal(one, Taken(4));
    }

    private static void Fails(Action load, string message)
    {
        var error = Assert.Throws<ResNetNodesException>(load);
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    private void Write(string name, SKBitmap bitmap, SKEncodedImageFormat format) => Save(Path.Combine(root, name), bitmap, format);
}
