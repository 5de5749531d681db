using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class MixedPrecisionTests
{
    private static readonly StageOptions Mixed = new() { ComputeType = ComputeType.BFloat16 };

    /// <summary>
    /// With u = 4e-3: each of 5 layers rounds input and weights, √10 u of the output. A ReLU's input is off by 2u, so that 0.8·2u of
    /// the mask's entries flip: √(1.6 u) of the gradient. The state's reconstruction adds less than a tenth of that.
    /// </summary>
    [Theory]
    [InlineData("euler", "backprop")]
    [InlineData("euler", "adaptive:0.02")]
    [InlineData("heun", "corrected:4")]
    public void Gradients_AreFloat32AndNearThoseOfAutogradInFloat64(string solverName, string method)
    {
        using var scope = NewDisposeScope();
        var solver = Solver.Parse(solverName);
        const int depth = 8;
        const double unit = 4e-3;
        var functions = Truth.Functions(depth, () => Truth.TinyFunction(8));
        using var stage = new ResidualStage(functions, Mixed with { Solver = solver, Reconstruction = Reconstruction.Parse(method) });
        var x = Truth.Normal(1, 8, 8, 6, 6).requires_grad_(true);
        var weight = Truth.Normal(2, 8, 8, 6, 6);
        Tensor[] leaves = [x, .. stage.parameters()];
        var expected = Truth.Forward(functions, depth, solver, x);
        (expected * weight).sum().backward();
        var truth = cat([.. Truth.TakeGradients(leaves).Select(g => g.flatten())]);

        stage.to(ScalarType.Float32);
        var single = x.detach().to(ScalarType.Float32).requires_grad_(true);
        leaves = [single, .. stage.parameters()];
        var found = stage.call(single);
        (found * weight.to(ScalarType.Float32)).sum().BackwardThroughStages();
        Assert.Equal(ScalarType.Float32, found.dtype);
        Assert.All(leaves, leaf => Assert.Equal(ScalarType.Float32, leaf.grad!.dtype));
        Assert.InRange(Truth.RelativeError(found.to(ScalarType.Float64), expected), 1e-5, Math.Sqrt(10) * unit);
        var gradient = cat([.. Truth.TakeGradients(leaves).Select(g => g.flatten().to(ScalarType.Float64))]);
        Assert.InRange(Truth.RelativeError(gradient, truth), 1e-5, Math.Sqrt(1.6 * unit));
    }

    /// <summary>
    /// Stem, first blocks and head of a network of four stages go by it too. A ReLU behind l layers is off by √(2l) u, and flips
    /// 0.8 times that of its mask's entries: with 13 ReLUs behind up to 40 layers √(13·0.8·√80 u) of the gradient at most.
    /// </summary>
    [Theory]
    [InlineData("backprop", true)]
    [InlineData("adaptive", false)]
    public void PartsOfANetwork_GoByItToo(string method, bool stored)
    {
        using var scope = NewDisposeScope();
        var options = new ResNetOptions
        {
            Kind = ResNetKind.Ode,
            Planes = 16,
            Size = NetworkSize.Custom([2, 3, 1, 1]),
            Seed = 1,
            Stage = Mixed with { Reconstruction = Reconstruction.Parse(method) },
        };
        using var network = new ResNet(options);
        var parts = network.Parts.Select(part => part.Module).Where(module => module is not ResidualStage).Cast<Recomputed>().ToList();
        Assert.Equal(6, parts.Count);
        Assert.All(parts, part => Assert.Equal((ComputeType.BFloat16, stored), (part.Options.ComputeType, part.Options.Stored)));
        var images = Truth.Normal(1, 8, 3, 16, 16);
        var labels = arange(8);
        var found = ScoresAndGradient(network, images.to(ScalarType.Float32));
        using var exact = new ResNet(options with { Stage = new() { Reconstruction = Reconstruction.Backprop } });
        exact.to(ScalarType.Float64);
        var truth = ScoresAndGradient(exact, images);
        Assert.InRange(Truth.RelativeError(found.Gradient, truth.Gradient), 1e-3, Math.Sqrt(13 * 0.8 * Math.Sqrt(80) * 4e-3));
        Assert.InRange(Truth.RelativeError(found.Scores, truth.Scores), 1e-3, Math.Sqrt(2 * 40) * 4e-3);

        (Tensor Scores, Tensor Gradient) ScoresAndGradient(ResNet net, Tensor x)
        {
            var scores = net.call(x);
            nn.functional.cross_entropy(scores, labels).BackwardThroughStages();
            return (scores.detach().to(ScalarType.Float64),
                cat([.. Truth.TakeGradients(net.parameters()).Select(g => g.flatten().to(ScalarType.Float64))]));
        }
    }

    /// <summary>Functions that start at 0 leave stem and head alone in the scores: a rounding of bfloat16 there would be 4e-3.</summary>
    [Fact]
    public void StemAndHeadOfTinyResNet_StayFloat32WithinABudgetToo()
    {
        using var scope = NewDisposeScope();
        var options = new TinyResNetOptions { Depth = 3, Planes = 16, ZeroInit = true, Seed = 1 };
        using var exact = new TinyResNet(options);
        using var planned = new TinyResNet(options with { Stage = Mixed, MemoryBudget = 1L << 30 });
        var images = Truth.Normal(1, 8, 3, 32, 32).to(ScalarType.Float32);
        var (expected, found) = (exact.call(images), planned.call(images));
        Assert.Equal(ComputeType.BFloat16, planned.Stage.Options.ComputeType);
        Assert.True(Truth.RelativeError(found, expected) < 1e-5);
    }

    [Fact]
    public void RunningStatistics_ChangeOnceAndStayFloat32()
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(4, () => Truth.TinyFunction(4));
        using var stage = new ResidualStage(functions, Mixed);
        stage.to(ScalarType.Float32);
        var norms = stage.modules().OfType<BatchNorm2d>().ToList();
        var x = Truth.Normal(1, 8, 4, 6, 6).to(ScalarType.Float32);
        var output = stage.call(x);
        var after = norms.Select(n => (n.running_mean!.clone(), n.running_var!.clone())).ToList();
        output.pow(2).sum().BackwardThroughStages();
        Assert.All(norms.Zip(after), pair =>
        {
            Assert.Equal(1, pair.First.num_batches_tracked!.item<long>());
            Assert.Equal(ScalarType.Float32, pair.First.running_mean!.dtype);
            Assert.True(pair.First.running_mean!.allclose(pair.Second.Item1, 0, 0)
                && pair.First.running_var!.allclose(pair.Second.Item2, 0, 0));
        });
    }

    [Theory]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.BFloat16)]
    public void OtherStates_AreRefused(ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), Mixed);
        stage.to(type);
        var error = Assert.Throws<ResNetNodesException>(() => stage.call(Truth.Normal(1, 3, 4).to(type)));
        Assert.Contains("expected float32: compute_type bfloat16", error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Modules_ThatAreCalledAreRefused()
    {
        using var unknown = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid());
        Assert.Contains("Sigmoid", Assert.Throws<ArgumentException>(() => new ResidualStage([unknown], Mixed)).Message);
        var known = Truth.Functions(2, () => Truth.LinearFunction(4));
        Assert.Contains(
            "StageExecution.Callback",
            Assert.Throws<ArgumentException>(
                () => new ResidualStage(known, Mixed with { Execution = StageExecution.Callback })).Message);
        using var stage = new ResidualStage(known, new StageOptions());
        Assert.Contains(
            "ComputeType is 5",
            Assert.Throws<ArgumentException>(() => stage.Options = new StageOptions { ComputeType = (ComputeType)5 }).Message);
        Assert.Equal(new StageOptions(), stage.Options);
        stage.Options = Mixed;
        Assert.EndsWith("compute=bfloat16)", stage.ToString());
    }

    /// <summary>Trained from three seeds: the mean loss differs from float32's by less than seeds make losses differ.</summary>
    [Fact]
    public void Training_ReachesTheLossOfFloat32()
    {
        var images = SyntheticImages.Create(100, 1);
        var (single, mixed) = (Losses(new StageOptions()), Losses(Mixed));
        var spread = single.Max() - single.Min();
        Assert.All(mixed, loss => Assert.InRange(loss, 0, 0.5 * Math.Log(10)));
        Assert.InRange(Math.Abs(mixed.Average() - single.Average()), 0, spread);

        List<double> Losses(StageOptions stage) => [.. Enumerable.Range(1, 3).Select(seed =>
        {
            using var model = new TinyResNet(new TinyResNetOptions
            {
                Depth = 4, Planes = 8, ZeroInit = false, Seed = seed, Stage = stage with { AccumulateGradientsInPlace = true }
            });
            using var trainer = new Trainer(model, new TrainingOptions { Epochs = 20, LearningRate = 0.05 });
            var loader = new BatchLoader(images, new Augmentation().WithoutRandomness(), 20, seed);
            trainer.Run(loader, loader, _ => { });
            return trainer.History[^1].TrainLoss;
        })];
    }
}
