using ResNetNodes.Networks;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class TinyResNetTests
{
    private static readonly TinyResNetOptions Small = new() { Depth = 3, Planes = 4, Seed = 1 };

    [Theory]
    [InlineData(10, 3)]
    [InlineData(7, 1)]
    public void Output_HasOneScoreAClass(int classes, int channels)
    {
        using var scope = NewDisposeScope();
        using var net = new TinyResNet(Small with { Classes = classes, InputChannels = channels });
        Assert.Equal([2, classes], net.call(rand(2, channels, 32, 32)).shape);
        Assert.Equal(StageExecution.Layers, net.Stage.Execution);
    }

    [Fact]
    public void Parameters_AreThoseOfThePaper()
    {
        using var net = new TinyResNet(new TinyResNetOptions());
        const int planes = 16;
        var stem = (5 * 5 * 3 * planes) + (2 * planes);
        var function = 2 * ((3 * 3 * planes * planes) + planes + (2 * planes));
        var head = (4 * planes * 10) + 10;
        Assert.Equal(stem + (16 * function) + head, net.parameters().Sum(p => p.numel()));
        Assert.Contains("stage.functions.15.conv2.weight", net.state_dict().Keys);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ZeroInit_MakesTheStageTheIdentity(bool zero)
    {
        using var scope = NewDisposeScope();
        using var net = new TinyResNet(Small with { ZeroInit = zero });
        var state = rand(2, 4, 10, 10);
        Assert.Equal(zero, net.Stage.call(state).allclose(state, 0, 0));
    }

    [Fact]
    public void Seed_MakesTheSameWeightsAgain()
    {
        using var scope = NewDisposeScope();
        using var a = new TinyResNet(Small);
        using var b = new TinyResNet(Small);
        using var other = new TinyResNet(Small with { Seed = 2 });
        Assert.All(a.parameters().Zip(b.parameters()), pair => Assert.True(pair.First.allclose(pair.Second, 0, 0)));
        Assert.Contains(a.parameters().Zip(other.parameters()), pair => !pair.First.allclose(pair.Second, 0, 0));
    }

    [Fact]
    public void Gradients_EqualThoseOfStoredTapes()
    {
        using var scope = NewDisposeScope();
        var images = Truth.Normal(1, 4, 3, 32, 32);
        var labels = tensor(new long[] { 1, 2, 3, 4 });
        var found = Gradients(Reconstruction.Corrected(40));
        foreach (var (gradient, expected) in found.Zip(Gradients(Reconstruction.Backprop)))
        {
            // Against the whole: the gradient of a bias before batch normalization is 0 and rounding alone.
            Assert.True((gradient - expected).norm().item<double>() < 1e-8);
        }

        List<Tensor> Gradients(Reconstruction reconstruction)
        {
            using var net = new TinyResNet(
                Small with { Depth = 8, ZeroInit = false, Stage = new StageOptions { Reconstruction = reconstruction } });
            net.to(ScalarType.Float64);
            nn.functional.cross_entropy(net.call(images), labels).backward();
            return Truth.TakeGradients(net.parameters());
        }
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentNullException>(() => new TinyResNet(null!));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TinyResNet(Small with { Depth = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TinyResNet(Small with { Planes = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TinyResNet(Small with { Classes = -1 }));
        Assert.Throws<ArgumentException>(() => new TinyResNet(Small with { Depth = 1, Stage = new StageOptions { Solver = Solver.Heun } }));
    }
}
