using ResNetNodes.Networks;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class DepthTransferTests
{
    private static readonly ResNetOptions Small = new() { Planes = 4, Size = NetworkSize.Custom([3, 2, 5, 2]) };

    /// <summary>An untied network of the same depth is the same function, in training and in evaluation.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Untie_KeepsTheOutput(bool training)
    {
        using var scope = NewDisposeScope();
        using var tied = Trained(new ResNet(Small with { Kind = ResNetKind.Tied, Seed = 1 }));
        using var untied = new ResNet(Small with { Kind = ResNetKind.Ode, Seed = 2 });
        untied.to(ScalarType.Float64);
        DepthTransfer.Copy(tied, untied);
        tied.train(training);
        untied.train(training);
        var images = Truth.Normal(5, 4, 3, 16, 16);
        // The same operators on the same numbers: equal to the last bit.
        Assert.True(tied.call(images).allclose(untied.call(images), 0, 0));
    }

    [Fact]
    public void Untied_FunctionsAreCopiesOfTheirOwn()
    {
        using var scope = NewDisposeScope();
        using var tied = new ResNet(Small with { Kind = ResNetKind.Tied, Seed = 1 });
        using var untied = new ResNet(Small with { Kind = ResNetKind.Ode, Seed = 2 });
        DepthTransfer.Copy(tied, untied);
        using (no_grad())
        {
            untied.Stages[2]!.Functions[1].parameters().First().zero_();
        }

        Assert.NotEqual(0, tied.Stages[2]!.Functions[0].parameters().First().abs().sum().item<float>());
        Assert.NotEqual(0, untied.Stages[2]!.Functions[2].parameters().First().abs().sum().item<float>());
    }

    [Theory]
    [InlineData(4, 4)]
    [InlineData(4, 8)]
    [InlineData(3, 7)]
    [InlineData(8, 4)]
    [InlineData(1, 5)]
    public void Stretch_TakesLayerFloorOfIaOverB(int a, int b)
    {
        using var scope = NewDisposeScope();
        using var source = new TinyResNet(new TinyResNetOptions { Depth = a, Planes = 4, ZeroInit = false, Seed = 1 });
        using var target = new TinyResNet(new TinyResNetOptions { Depth = b, Planes = 4, ZeroInit = false, Seed = 2 });
        Trained(source).to(ScalarType.Float32);
        DepthTransfer.Copy(source, target);
        var (given, taken) = (source.state_dict(), target.state_dict());
        foreach (var (name, value) in taken)
        {
            var parts = name.Split('.');
            var from = parts[0] == "stage"
                ? string.Join('.', [.. parts[..2], $"{(int)Math.Floor((double)int.Parse(parts[2]) * a / b)}", .. parts[3..]])
                : name;
            Assert.True(value.equal(given[from]).all().item<bool>(), name);
        }

        if (a == b)
        {
            var images = rand(3, 3, 32, 32);
            Assert.True(source.call(images).allclose(target.call(images), 0, 0));
        }
    }

    [Fact]
    public void Copy_RefusesNetworksThatDifferInMore()
    {
        using var source = new ResNet(Small with { Seed = 1 });
        using var wider = new ResNet(Small with { Planes = 8 });
        using var basic = new ResNet(Small with { Size = NetworkSize.Custom([3, 2, 5, 2], bottleneck: false) });
        using var tied = new ResNet(Small with { Kind = ResNetKind.Tied });
        using var fewer = new ResNet(Small with { Size = NetworkSize.Custom([3, 1, 5, 2]) });
        using var tiny = new TinyResNet(new TinyResNetOptions());
        foreach (
            var (target, message) in new (nn.Module, string)[]
            {
                (wider, "expected [8, 3, 3, 3]"), (basic, "blocks"), (tied, "not tied"), (fewer, "stage2"), (tiny, "stage")
            })
        {
            var before = target.parameters().Select(p => p.clone()).ToList();
            Assert.Contains(message, Assert.Throws<ArgumentException>(() => DepthTransfer.Copy(source, target)).Message);
            Assert.All(before.Zip(target.parameters()), pair => Assert.True(pair.First.allclose(pair.Second, 0, 0)));
        }
    }

    // Statistics and weights that no initialization gives.
    private static TModule Trained<TModule>(TModule net)
        where TModule : nn.Module<Tensor, Tensor>
    {
        net.to(ScalarType.Float64);
        using var optimizer = optim.SGD(net.parameters(), 0.05);
        for (var i = 0; i < 3; i++)
        {
            optimizer.zero_grad();
            nn.functional.cross_entropy(net.call(Truth.Normal(i, 4, 3, 32, 32)), tensor(new long[] { 0, 1, 2, 3 })).backward();
            optimizer.step();
        }

        return net;
    }
}
