using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class AugmentationTests
{
    // Two sums of up to 2·30 products in float32, values up to 1/0.2 after normalization: 2·60·6e-8/0.2.
    private const double Rounding = 4e-5;

    /// <summary>Height, width: square, tall, wide, smaller and larger than the results.</summary>
    public static TheoryData<int, int> Sizes => new() { { 32, 32 }, { 20, 25 }, { 100, 60 }, { 61, 250 }, { 300, 301 }, { 7, 5 } };

    [Theory]
    [InlineData(30, 30)]
    [InlineData(32, 32)]
    [InlineData(5, 32)]
    [InlineData(31, 8)]
    public void Canvas_CentresPadsCropsAndFlips(int height, int width)
    {
        var image = RandomImage(3, height, width, 1);
        var augmentation = Augmentation.Cifar;
        for (var index = 0; index < 40; index++)
        {
            // The plain version: a canvas with its border of 4, a 32×32 window of it, mirrored.
            var random = new RandomNumbers(5).OfImage(2, index);
            var (top, left) = (4 + random.Next(-4, 5), 4 + random.Next(-4, 5));
            var flip = random.Next(2) == 1;
            var found = Applied(augmentation, image, index, 5, 2);
            Compare(augmentation, found, (c, y, x) =>
            {
                var (row, column) = (y + top - 4 - ((32 - height) / 2), (flip ? 31 - x : x) + left - 4 - ((32 - width) / 2));
                return row >= 0 && row < height && column >= 0 && column < width ? At(image, c, row, column) : 0;
            });
        }
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void RandomResizedCrop_MatchesASlowPlainVersion(int height, int width)
    {
        var image = RandomImage(3, height, width, 2);
        var augmentation = Augmentation.ImageNet with { Size = 24, Resize = 27 };
        for (var index = 0; index < 10; index++)
        {
            var random = new RandomNumbers(7).OfImage(3, index);
            var (top, left, h, w) = PlainPart(random, height, width, 0.08);
            var flip = random.Next(2) == 1;
            var slow = SlowResize(image, top, left, h, w, 24, 24);
            Compare(augmentation, Applied(augmentation, image, index, 7, 3), (c, y, x) => slow[c, y, flip ? 23 - x : x]);
        }
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void ResizedCentre_MatchesASlowPlainVersion(int height, int width)
    {
        var image = RandomImage(3, height, width, 3);
        var augmentation = (Augmentation.ImageNet with { Size = 24, Resize = 31 }).WithoutRandomness();
        var (h, w) = height <= width ? (31, (int)(31.0 * width / height)) : ((int)(31.0 * height / width), 31);
        var slow = SlowResize(image, 0, 0, height, width, h, w);
        var (top, left) = ((int)Math.Round((h - 24) / 2.0), (int)Math.Round((w - 24) / 2.0));
        Compare(augmentation, Applied(augmentation, image, 0, 1, 0), (c, y, x) => slow[c, y + top, x + left]);
        Assert.Equal(Applied(augmentation, image, 0, 1, 0), Applied(augmentation, image, 9, 2, 4));
    }

    [Fact]
    public void Scaling_KeepsConstantsAndSlopes()
    {
        // A triangle filter reproduces linear functions away from the border: the mean of what a pixel covers.
        var values = new byte[60 * 60];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (byte)((2 * (i / 60)) + (i % 60));
        }

        var plain = new Augmentation
        {
            Size = 20,
            Resize = 20,
            Fit = ImageFit.ResizedCentre,
            Flip = false,
            Channels = 1,
            Mean = [0],
            Deviation = [1]
        };
        var slope = Applied(plain, new ImageBytes(values, 1, 60, 60), 0, 0, 0);
        for (var y = 1; y < 19; y++)
        {
            for (var x = 1; x < 19; x++)
            {
                Assert.Equal(((2 * ((3 * y) + 1)) + (3 * x) + 1) / 255.0, slope[(y * 20) + x], 1e-5);
            }
        }

        var constant = Applied(plain, new ImageBytes(Enumerable.Repeat((byte)200, 47 * 31).ToArray(), 1, 47, 31), 0, 0, 0);
        Assert.All(constant, value => Assert.Equal(200 / 255.0, value, 1e-5));
    }

    [Fact]
    public void RandomParts_KeepToAreaAndRatio()
    {
        var (areas, ratios) = (new List<double>(), new List<double>());
        var random = new Random(1);
        for (var i = 0; i < 2000; i++)
        {
            var part = CropBox.Draw(random, 400, 500, 0.08);
            Assert.True(part.Top >= 0 && part.Left >= 0 && part.Top + part.Height <= 400 && part.Left + part.Width <= 500);
            areas.Add(part.Height * part.Width / 200_000.0);
            ratios.Add((double)part.Width / part.Height);
        }

        // Sides are rounded to whole pixels: half a pixel of at least 120.
        Assert.InRange(areas.Min(), 0.079, 0.1);
        Assert.InRange(areas.Max(), 0.9, 1);
        Assert.InRange(ratios.Min(), 0.745, 0.77);
        Assert.InRange(ratios.Max(), 1.3, 1.34);
    }

    [Theory]
    [InlineData(10, 1000, 0, 493, 10, 13)]
    [InlineData(1000, 9, 494, 0, 12, 9)]
    [InlineData(1, 1, 0, 0, 1, 1)]
    public void RandomParts_FallBackToTheCentre(int height, int width, int top, int left, int h, int w) =>
        Assert.Equal(new CropBox(top, left, h, w), CropBox.Draw(new Random(3), height, width, 0.9));

    [Fact]
    public void Choices_DependOnSeedEpochAndImageAlone()
    {
        var image = RandomImage(3, 40, 50, 4);
        foreach (var augmentation in new[] { Augmentation.Cifar with { Size = 50 }, Augmentation.ImageNet with { Size = 16 } })
        {
            var found = Applied(augmentation, image, 3, 5, 2);
            Assert.Equal(found, Applied(augmentation, image, 3, 5, 2));
            Assert.NotEqual(found, Applied(augmentation, image, 4, 5, 2));
            Assert.NotEqual(found, Applied(augmentation, image, 3, 6, 2));
            Assert.NotEqual(found, Applied(augmentation, image, 3, 5, 3));
        }

        var (flipping, plain) = (Augmentation.Grey with { Size = 50 }, Augmentation.Grey.WithoutRandomness() with { Size = 50 });
        var flips = Enumerable.Range(0, 1000)
            .Count(i => !Applied(flipping, image, i, 1, 0).AsSpan().SequenceEqual(Applied(plain, image, i, 1, 0)));
        // Five standard deviations of 1000 fair coins are 79.
        Assert.InRange(flips, 421, 579);
    }

    [Fact]
    public void Grey_IsRepeated()
    {
        var image = RandomImage(1, 28, 28, 5);
        var found = Applied(Augmentation.Grey, image, 1, 1, 1);
        Assert.Equal(found[..1024], found[1024..2048]);
        Assert.Equal(found[..1024], found[2048..]);
    }

    [Fact]
    public void WrongImagesAndValues_AreNamed()
    {
        var error = Assert.Throws<ArgumentException>(() => Applied(Augmentation.Cifar, RandomImage(3, 33, 20, 1), 8, 1, 0));
        Assert.Contains("image 8 is 33×20, expected at most 32×32", error.Message);
        Assert.Contains(
            "has 2 channels",
            Assert.Throws<ArgumentException>(() => Applied(Augmentation.Cifar, RandomImage(2, 20, 20, 1), 8, 1, 0)).Message);
        var data = SyntheticImages.Create(4, 1);
        Augmentation[] wrong =
        [
            new() { Size = 0 }, new() { CropPadding = -1 }, new() { Mean = [0.5] }, new() { Deviation = [1, 0, 1] },
            Augmentation.ImageNet with { Resize = 100 }, Augmentation.ImageNet with { LeastArea = 0 },
            Augmentation.ImageNet with { LeastArea = double.NaN },
        ];
        Assert.All(wrong, augmentation => Assert.ThrowsAny<ArgumentException>(() => new BatchLoader(data, augmentation, 2, null)));
    }

    internal static ImageBytes RandomImage(int channels, int height, int width, int seed)
    {
        var values = new byte[channels * height * width];
        new Random(seed).NextBytes(values);
        return new(values, channels, height, width);
    }

    private static float[] Applied(Augmentation augmentation, ImageBytes image, int index, long seed, int epoch)
    {
        var target = new float[augmentation.Channels * augmentation.Size * augmentation.Size];
        augmentation.Apply(image, index, seed, epoch, target);
        return target;
    }

    private static double At(ImageBytes image, int channel, int row, int column) =>
        image.Values.Span[(((channel * image.Height) + row) * image.Width) + column];

    private static void Compare(Augmentation a, float[] found, Func<int, int, int, double> truth)
    {
        for (var i = 0; i < found.Length; i++)
        {
            var (channel, row, column) = (i / (a.Size * a.Size), i / a.Size % a.Size, i % a.Size);
            Assert.Equal(((truth(channel, row, column) / 255) - a.Mean[channel]) / a.Deviation[channel], found[i], Rounding);
        }
    }

    // Draws as the usual definition does, from the same generator.
    private static (int Top, int Left, int Height, int Width) PlainPart(Random random, int height, int width, double least)
    {
        for (var attempt = 0; attempt < 10; attempt++)
        {
            var area = height * width * (least + ((1 - least) * random.NextDouble()));
            var ratio = Math.Pow(3.0 / 4, 1 - (2 * random.NextDouble()));
            var (w, h) = ((int)Math.Round(Math.Sqrt(area * ratio)), (int)Math.Round(Math.Sqrt(area / ratio)));
            if (w >= 1 && h >= 1 && w <= width && h <= height)
            {
                var top = random.Next(0, height - h + 1);
                return (top, random.Next(0, width - w + 1), h, w);
            }
        }

        var (keptHeight, keptWidth) = (Math.Min(height, (int)Math.Round(width / 0.75)), Math.Min(width, (int)Math.Round(height * 4 / 3.0)));
        return ((height - keptHeight) / 2, (width - keptWidth) / 2, keptHeight, keptWidth);
    }

    // Every source pixel under a two-dimensional tent, in float64.
    private static double[,,] SlowResize(ImageBytes image, int top, int left, int height, int width, int newHeight, int newWidth)
    {
        var result = new double[image.Channels, newHeight, newWidth];
        static double Tent(int pixel, int result, int from, int to)
        {
            var scale = (double)from / to;
            return Math.Max(0, 1 - (Math.Abs(pixel + 0.5 - ((result + 0.5) * scale)) / Math.Max(1, scale)));
        }

        for (var y = 0; y < newHeight; y++)
        {
            var rows = Enumerable.Range(0, height)
                .Select(i => (Pixel: i, Weight: Tent(i, y, height, newHeight))).Where(t => t.Weight > 0).ToList();
            for (var x = 0; x < newWidth; x++)
            {
                var columns = Enumerable.Range(0, width)
                    .Select(i => (Pixel: i, Weight: Tent(i, x, width, newWidth))).Where(t => t.Weight > 0).ToList();
                for (var c = 0; c < image.Channels; c++)
                {
                    var sum = rows.Sum(r => columns.Sum(k => r.Weight * k.Weight * At(image, c, top + r.Pixel, left + k.Pixel)));
                    result[c, y, x] = sum / (rows.Sum(r => r.Weight) * columns.Sum(k => k.Weight));
                }
            }
        }

        return result;
    }
}
