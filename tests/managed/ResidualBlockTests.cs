using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class ResidualBlockTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Forward_IsTheRectifiedSumOfItsBranches(bool hasShortcut)
    {
        using var scope = NewDisposeScope();
        using var block = new ResidualBlock(nn.Tanh(), hasShortcut ? nn.GELU() : null);
        var x = Truth.Normal(1, 3, 5);
        var expected = (tanh(x) + (hasShortcut ? nn.functional.gelu(x) : x)).clamp_min(0);
        Assert.Equal(0.0, (block.call(x) - expected).abs().max().item<double>());
    }

    [Fact]
    public void Branches_AreRegistered()
    {
        using var block = new ResidualBlock(nn.Linear(4, 4), nn.Linear(4, 4));
        Assert.Equal(["branch.weight", "branch.bias", "shortcut.weight", "shortcut.bias"], block.state_dict().Keys);
        Assert.NotNull(block.Shortcut);
        Assert.Equal(2, block.Branch.parameters().Count());
    }

    [Fact]
    public void NullBranch_IsRefused() => Assert.Throws<ArgumentNullException>(() => new ResidualBlock(null!));
}
