using ResNetNodes.Networks;
using static TorchSharp.torch;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>What is counted from the options is what the built network has.</summary>
public sealed class ParameterCountsTests
{
    [Theory]
    [InlineData(1, 1, 10, 3)]
    [InlineData(2, 3, 7, 1)]
    [InlineData(5, 16, 100, 3)]
    public void TinyResNet_HasAsMany(int depth, int planes, int classes, int channels)
    {
        var options = new TinyResNetOptions { Depth = depth, Planes = planes, Classes = classes, InputChannels = channels };
        using var network = new TinyResNet(options);
        Assert.Equal(Count(network), ParameterCounts.Of(options));
    }

    public static TheoryData<ResNetKind, string, int> Kinds()
    {
        var data = new TheoryData<ResNetKind, string, int>();
        foreach (var kind in Enum.GetValues<ResNetKind>())
        {
            foreach (
                var size in (string[])
                    ["18", "34", "50", "auto:1", "auto:2", "auto:3", "custom:1+2+3+1", "custom:2+1+1+4", "custom-basic:1+3+2+2"])
            {
                data.Add(kind, size, 1);
                data.Add(kind, size, 5);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void ResNet_HasAsMany(ResNetKind kind, string size, int planes)
    {
        foreach (var (classes, stem) in new (int, bool?)[] { (10, null), (1000, null), (1000, false), (3, true) })
        {
            var options = new ResNetOptions
            {
                Kind = kind,
                Size = NetworkSize.Parse(size),
                Planes = planes,
                Classes = classes,
                ImageNetStem = stem
            };
            using var network = new ResNet(options);
            Assert.Equal(Count(network), ParameterCounts.Of(options));
        }
    }

    /// <summary>The usual ResNets of ImageNet, as their authors count them (torchvision's weights).</summary>
    [Theory]
    [InlineData("18", 11_689_512)]
    [InlineData("34", 21_797_672)]
    [InlineData("50", 25_557_032)]
    [InlineData("101", 44_549_160)]
    [InlineData("152", 60_192_808)]
    public void ResNet_OfImageNet_HasThePublishedNumber(string size, double count) => Assert.Equal(
        count, ParameterCounts.Of(new ResNetOptions { Kind = ResNetKind.Ordinary, Size = NetworkSize.Parse(size), Classes = 1000 }));

    /// <summary>Larger than any integer of 64 bits, and still a number.</summary>
    [Fact]
    public void CountsDoNotOverflow()
    {
        Assert.InRange(ParameterCounts.Of(new TinyResNetOptions { Depth = int.MaxValue, Planes = int.MaxValue }), 1e28, 1e30);
        Assert.InRange(ParameterCounts.Of(new ResNetOptions { Size = NetworkSize.Auto(1 << 20), Planes = 1 << 26 }), 1e23, 1e26);
    }

    private static double Count(nn.Module network) => network.parameters().Sum(p => (double)p.numel());
}
