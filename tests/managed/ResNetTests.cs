using ResNetNodes.Networks;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class ResNetTests
{
    private static readonly ResNetOptions Small = new() { Planes = 4, Seed = 1 };
    private static readonly NetworkSize Basic = NetworkSize.Custom([3, 2, 1, 2], bottleneck: false);
    private static readonly NetworkSize Bottleneck = NetworkSize.Custom([2, 3, 1, 2]);

    [Theory]
    [InlineData("18", 11_689_512)]
    [InlineData("34", 21_797_672)]
    [InlineData("50", 25_557_032)]
    [InlineData("101", 44_549_160)]
    [InlineData("152", 60_192_808)]
    public void Parameters_AreAsManyAsUsual(string size, long expected)
    {
        foreach (var kind in new[] { ResNetKind.Ordinary, ResNetKind.Ode, ResNetKind.Torchvision })
        {
            using var net = new ResNet(new ResNetOptions { Kind = kind, Size = NetworkSize.Parse(size), Classes = 1000 });
            Assert.Equal(expected, net.parameters().Sum(p => p.numel()));
        }
    }

    [Fact]
    public void Tied_HasOneFunctionAStage()
    {
        using var shallow = new ResNet(Small with { Kind = ResNetKind.Tied, Size = NetworkSize.Auto(3) });
        using var deep = new ResNet(Small with { Kind = ResNetKind.Tied, Size = NetworkSize.Auto(9) });
        Assert.Equal(shallow.parameters().Sum(p => p.numel()), deep.parameters().Sum(p => p.numel()));
        Assert.All(deep.Stages, stage => Assert.Equal((8, 1), (stage!.Depth, stage.Functions.Count)));
    }

    public static TheoryData<ResNetKind, bool, string, bool> Networks()
    {
        var data = new TheoryData<ResNetKind, bool, string, bool>();
        foreach (var kind in Enum.GetValues<ResNetKind>())
        {
            data.Add(kind, false, "euler", true);
            data.Add(kind, true, "euler", false);
        }

        return data;
    }

    /// <summary>Against the definition, written plainly on the network's own modules, in float64: scores and all gradients.</summary>
    [Theory]
    [MemberData(nameof(Networks))]
    public void Network_IsItsDefinition(ResNetKind kind, bool bottleneck, string solver, bool largeStem)
    {
        using var scope = NewDisposeScope();
        var options = Small with
        {
            Kind = kind,
            Size = bottleneck ? Bottleneck : Basic,
            ImageNetStem = largeStem,
            Stage = new StageOptions { Solver = Solver.Parse(solver), Reconstruction = Reconstruction.Backprop },
        };
        var images = Truth.Normal(1, 3, 3, 24, 24);
        var labels = tensor(new long[] { 1, 2, 3 });
        var found = ScoresAndGradients((net, x) => net.call(x));
        var expected = ScoresAndGradients(Plainly);
        // Sums of up to 9·16 products and 3 layers of them: some hundred roundings of 1e-16, times what normalization amplifies.
        Assert.All(
            found.Zip(expected),
            pair => Assert.True(
                (pair.First - pair.Second).norm().item<double>() < 1e-9 * (1 + pair.Second.norm().item<double>())));

        List<Tensor> ScoresAndGradients(Func<ResNet, Tensor, Tensor> evaluate)
        {
            using var net = new ResNet(options);
            net.to(ScalarType.Float64);
            var scores = evaluate(net, images);
            nn.functional.cross_entropy(scores, labels).backward();
            return [scores.detach(), .. Truth.TakeGradients(net.parameters())];
        }
    }

    internal static Tensor Plainly(ResNet net, Tensor images)
    {
        var modules = net.named_modules().ToDictionary(m => m.name, m => m.module);
        Tensor Run(string name, Tensor x) => ((nn.Module<Tensor, Tensor>)modules[name]).call(x);
        var state = Run("stem", images);
        for (var s = 0; s < 4; s++)
        {
            var shortcut = modules.ContainsKey($"blocks.{s}.shortcut") ? Run($"blocks.{s}.shortcut", state) : state;
            state = (Run($"blocks.{s}.branch", state) + shortcut).relu();
            var depth = net.Options.Size.Blocks[s] - 1;
            for (var n = 0; n < depth; n++)
            {
                if (net.Options.Kind == ResNetKind.Torchvision)
                {
                    state = (state + Run($"stage{s + 1}.functions.{n}.branch", state)).relu();
                    continue;
                }

                state += Run($"stage{s + 1}.functions.{(net.Options.Kind == ResNetKind.Tied ? 0 : n)}", state) / depth;
            }

            state = net.Options.Kind is ResNetKind.Ordinary or ResNetKind.Torchvision ? state : state.relu();
        }

        return Run("head", state.mean([2, 3]));
    }

    [Fact]
    public void Functions_RunOnNativeLayers()
    {
        foreach (var kind in Enum.GetValues<ResNetKind>())
        {
            using var net = new ResNet(Small with { Kind = kind, Size = NetworkSize.Auto(3) });
            Assert.All(net.Stages, stage => Assert.Equal(StageExecution.Layers, stage!.Execution));
        }
    }

    [Theory]
    [InlineData(1, "adaptive", "adaptive")]
    [InlineData(4, "backprop", "adaptive")]
    [InlineData(11, "backprop", "backprop")]
    public void AdjointFrom_LeavesShortStagesToBackprop(int from, string shortStage, string longStage)
    {
        using var net = new ResNet(Small with { Size = NetworkSize.Custom([4, 5, 1, 2]), AdjointFrom = from });
        Assert.Equal(shortStage, net.Stages[0]!.Options.Reconstruction.ToString());
        Assert.Equal(longStage, net.Stages[1]!.Options.Reconstruction.ToString());
        Assert.Null(net.Stages[2]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ZeroInit_MakesStagesTheIdentity(bool zero)
    {
        using var scope = NewDisposeScope();
        using var net = new ResNet(Small with { Size = NetworkSize.Auto(2), ZeroInitResidual = zero });
        var state = rand(2, 4, 6, 6);
        Assert.Equal(zero, net.Stages[0]!.call(state).allclose(state, 0, 0));
    }

    /// <summary>Kaiming, fan-out, ReLU: variance 2 / (kernel² · output channels).</summary>
    [Fact]
    public void Convolutions_StartWithKaimingsVariance()
    {
        using var scope = NewDisposeScope();
        using var net = new ResNet(new ResNetOptions { Planes = 32, Seed = 3 });
        foreach (var (name, weight) in net.named_parameters().Where(p => p.parameter.dim() == 4 && p.parameter.numel() > 4000))
        {
            var expected = 2.0 / (weight.shape[0] * weight.shape[2] * weight.shape[3]);
            // The variance of n normal numbers scatters by sqrt(2/n).
            var variance = weight.pow(2).mean().item<float>();
            Assert.True(Math.Abs((variance / expected) - 1) < 5 * Math.Sqrt(2.0 / weight.numel()), name);
        }
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentNullException>(() => new ResNet(null!));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ResNet(Small with { Planes = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ResNet(Small with { Classes = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ResNet(Small with { InputChannels = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ResNet(Small with { AdjointFrom = 0 }));
        foreach (var stage in new StageOptions[] { new() { Solver = Solver.Midpoint }, new() { StepSize = 0.5 } })
        {
            Assert.Throws<ArgumentException>(() => new ResNet(Small with { Kind = ResNetKind.Torchvision, Stage = stage }));
        }

        Assert.Throws<ArgumentException>(() => NetworkSize.Custom([1, 2, 3]));
        Assert.Throws<ArgumentException>(
            () => new ResNet(Small with { Size = NetworkSize.Auto(2), Stage = new StageOptions { Solver = Solver.Heun } }));
    }
}
