using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class InputDescriptionTests
{
    /// <summary>What a network is given in the tests of its training, it is given by its description: bit for bit.</summary>
    [Theory]
    [InlineData("cifar", 32, 32)]
    [InlineData("cifar", 28, 20)]
    [InlineData("grey", 28, 28)]
    [InlineData("small", 60, 100)]
    [InlineData("small", 7, 9)]
    public void ToAugmentation_IsThatOfTheTests(string name, int height, int width)
    {
        var augmentation = name switch
        {
            "cifar" => Augmentation.Cifar,
            "grey" => Augmentation.Grey,
            _ => Augmentation.ImageNet with { Size = 24, Resize = 30 },
        };
        var image = AugmentationTests.RandomImage(3, height, width, 5);
        var found = InputDescription.Of(augmentation).ToAugmentation();
        Assert.Equal(Applied(augmentation.WithoutRandomness(), image), Applied(found, image));
        Assert.Equal(InputDescription.Of(augmentation), InputDescription.Of(found));
        Assert.Equal(InputDescription.Of(augmentation).GetHashCode(), InputDescription.Of(found).GetHashCode());
    }

    /// <summary>A canvas has no room for a larger image: its centre is scaled to it.</summary>
    [Theory]
    [InlineData(33, 32)]
    [InlineData(20, 64)]
    [InlineData(100, 70)]
    public void ToAugmentation_ScalesWhatIsLargerThanTheCanvas(int height, int width)
    {
        var image = AugmentationTests.RandomImage(3, height, width, 6);
        var found = InputDescription.Of(Augmentation.Cifar).ToAugmentation();
        var centre = Augmentation.Cifar.WithoutRandomness() with { Fit = ImageFit.ResizedCentre, Resize = 32 };
        Assert.Equal(Applied(centre, image), Applied(found, image));
    }

    public static TheoryData<InputDescription, string> Wrong() => new()
    {
        { Right with { Pixels = 0 }, "0 pixels" },
        { Right with { Pixels = int.MaxValue }, "2147483647 pixels" },
        { Right with { Pixels = 40_000 }, "3 channels and 40000 pixels" },
        { Right with { Channels = 0 }, "0 channels" },
        { Right with { Channels = 4 }, "for 4 channels" },
        { Right with { Resize = 31 }, "resized to 31" },
        { Right with { Resize = int.MaxValue }, "resized to 2147483647" },
        { Right with { Mean = [0.5] }, "1 means" },
        { Right with { Mean = [0.5, double.NaN, 0.5] }, "a mean or deviation that is none" },
        { Right with { Deviation = [0.5, 0, 0.5] }, "a mean or deviation that is none" },
        { Right with { Deviation = [0.5, double.PositiveInfinity, 0.5] }, "a mean or deviation that is none" },
    };

    private static InputDescription Right { get; } = InputDescription.Of(Augmentation.Cifar);

    [Theory]
    [MemberData(nameof(Wrong), DisableDiscoveryEnumeration = true)]
    public void Problem_NamesWhatIsWrong(InputDescription description, string problem)
    {
        Assert.Null(Right.Problem);
        Assert.Contains(problem, description.Problem);
        Assert.NotEqual(Right, description);
    }

    private static float[] Applied(Augmentation augmentation, ImageBytes image)
    {
        var values = new float[augmentation.Channels * augmentation.Size * augmentation.Size];
        augmentation.Apply(image, 0, 1, 0, values);
        return values;
    }
}
