using ResNetNodes.Data;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using static TorchSharp.torchvision;
using static TorchSharp.torchvision.transforms;

namespace ResNetNodes.Tests;

/// <summary>Augmentation against TorchVision's transforms, in the order in which a Python pipeline has them.</summary>
public sealed class AugmentationByTorchVisionTests
{
    // As in AugmentationTests: sums of 2·30 products in float32 on either side.
    private const double Rounding = 8e-5;

    [Theory]
    [InlineData(32)]
    [InlineData(24)]
    public void PaddedCropsAndFlips_AreThoseOfTorchVision(int size)
    {
        using var scope = NewDisposeScope();
        var image = AugmentationTests.RandomImage(3, size, size, 11);
        var augmentation = Augmentation.Cifar with { Size = size };
        for (var index = 0; index < 20; index++)
        {
            var random = new RandomNumbers(5).OfImage(1, index);
            // The window moves against the image.
            var (down, right) = (random.Next(-4, 5), random.Next(-4, 5));
            var flip = random.Next(2) == 1;
            var padded = functional.pad(Bytes(image), 4L);
            Compare(augmentation, image, index, 5, 1, functional.crop(padded, 4 + down, 4 + right, size, size), flip);
        }
    }

    [Theory]
    [MemberData(nameof(AugmentationTests.Sizes), MemberType = typeof(AugmentationTests))]
    public void ResizedCentre_IsThatOfTorchVision(int height, int width)
    {
        using var scope = NewDisposeScope();
        var image = AugmentationTests.RandomImage(3, height, width, 12);
        var augmentation = (Augmentation.ImageNet with { Size = 24, Resize = 30 }).WithoutRandomness();
        var (h, w) = height <= width ? (30, 30 * width / height) : (30 * height / width, 30);
        Compare(augmentation, image, 0, 1, 0, functional.center_crop(Scaled(Bytes(image), h, w), 24), flip: false);
    }

    [Theory]
    [MemberData(nameof(AugmentationTests.Sizes), MemberType = typeof(AugmentationTests))]
    public void RandomResizedCrop_OfAPartIsThatOfTorchVision(int height, int width)
    {
        using var scope = NewDisposeScope();
        var image = AugmentationTests.RandomImage(3, height, width, 13);
        var augmentation = Augmentation.ImageNet with { Size = 24, Resize = 27 };
        for (var index = 0; index < 5; index++)
        {
            var random = new RandomNumbers(7).OfImage(2, index);
            var part = CropBox.Draw(random, height, width, 0.08);
            var flip = random.Next(2) == 1;
            var cut = functional.crop(Bytes(image), part.Top, part.Left, part.Height, part.Width);
            Compare(augmentation, image, index, 7, 2, Scaled(cut, 24, 24), flip);
        }
    }

    // [1, C, H, W], from 0 to 255 in float32: TorchVision rounds bytes after scaling, ours does not.
    private static Tensor Bytes(ImageBytes image) =>
        tensor(image.Values.ToArray()).to(ScalarType.Float32).reshape(1, image.Channels, image.Height, image.Width);

    private static Tensor Scaled(Tensor image, int height, int width) =>
        functional.resize(image, height, width, InterpolationMode.Bilinear, null, antialias: true);

    private static void Compare(Augmentation a, ImageBytes image, int index, long seed, int epoch, Tensor truth, bool flip)
    {
        var found = new float[a.Channels * a.Size * a.Size];
        a.Apply(image, index, seed, epoch, found);
        var flipped = flip ? functional.hflip(truth) : truth;
        var expected = functional.normalize(flipped.div(255), [.. a.Mean], [.. a.Deviation]).data<float>().ToArray();
        Assert.Equal(expected.Length, found.Length);
        for (var i = 0; i < found.Length; i++)
        {
            Assert.Equal(expected[i], found[i], Rounding);
        }
    }
}
