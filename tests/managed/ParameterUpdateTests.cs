using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Clipping and accumulation, beside plain autograd; gradients of stages are added by autograd or in place.</summary>
public sealed class ParameterUpdateTests
{
    private static readonly TrainingOptions Options = new() { LearningRate = 0.1, WeightDecay = 0.01 };

    /// <summary>Three groups of batches of any sizes, the last of them incomplete: as with one batch of each group's images.</summary>
    [Theory]
    [InlineData(true, 1)]
    [InlineData(true, 2)]
    [InlineData(false, 3)]
    [InlineData(false, 4)]
    public void Accumulate_EqualsOneBatchOfAllImages(bool inPlace, int seed)
    {
        using var scope = NewDisposeScope();
        using var model = Network(inPlace);
        using var whole = Network(inPlace);
        // Without weight decay and clipping Adam would hide a wrong scale.
        using var trainer = new Trainer(model, Options with { Accumulate = 3, ClipNorm = 0.5 });
        using var other = new Trainer(whole, Options with { ClipNorm = 0.5 });
        var sizes = new Random(seed);
        for (var group = 0; group < 3; group++)
        {
            var parts = Enumerable.Range(0, group == 2 ? 2 : 3).Select(i => sizes.Next(1, 7)).ToList();
            var (images, labels) = Batch((10 * seed) + group, parts.Sum());
            var (before, from) = (Weights(model), 0);
            foreach (var (i, count) in parts.Index())
            {
                Assert.Equal(before, Weights(model));
                trainer.TrainStep(images[from..(from + count)], labels[from..(from + count)]);
                from += count;
            }

            trainer.CompleteStep();
            other.TrainStep(images, labels);
            // float64: sums of some hundred numbers of about 1 in another order.
            Assert.All(Weights(model).Zip(Weights(whole)), pair => Assert.Equal(pair.Second, pair.First, 1e-12));
            Assert.NotEqual(before, Weights(model));
        }

        var last = Weights(model);
        trainer.CompleteStep();
        Assert.Equal(last, Weights(model));
    }

    [Theory]
    [InlineData(true, 1e-3)]
    [InlineData(false, 1e-3)]
    [InlineData(true, 1e6)]
    public void ClipNorm_ScalesTheGradientDown(bool inPlace, double most)
    {
        using var scope = NewDisposeScope();
        using var model = Network(inPlace);
        using var same = Network(false);
        var (images, labels) = Batch(1, 6);
        using var trainer = new Trainer(model, Options with { ClipNorm = most, WeightDecay = 0 });
        trainer.TrainStep(images, labels);
        nn.functional.cross_entropy(same.call(images), labels).backward();
        var norm = Math.Sqrt(same.parameters().Sum(p => p.grad!.square().sum().item<double>()));
        using var guard = no_grad();
        foreach (var (moved, start) in model.parameters().Zip(same.parameters()))
        {
            var expected = start - (0.1 * Math.Min(1, most / norm) * start.grad!);
            Assert.True(moved.allclose(expected, 1e-10, 1e-14));
        }

        Assert.True(norm > 1e-3);
    }

    /// <summary>In bfloat16 the norm is that of the gradients as they are, not rounded once more to three digits.</summary>
    [Theory]
    [InlineData(ScalarType.BFloat16)]
    [InlineData(ScalarType.Float32)]
    public void GradientNorm_IsTold(ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var model = Network(true);
        model.to(type);
        var (images, labels) = Batch(2, 40);
        TrainingProgress? told = null;
        using var trainer = new Trainer(model, Options with { ClipNorm = 1e9, WeightDecay = 0, Epochs = 1 }) { Progress = p => told ??= p };
        trainer.Run(TestLoaders.Small(24, 24), TestLoaders.Small(6, 6), _ => { });
        var norm = Math.Sqrt(model.parameters().Sum(p => p.grad!.to(ScalarType.Float64).square().sum().item<double>()));
        Assert.Equal(norm, told!.GradientNorm!.Value, 1e-9 * norm);
        Assert.True(told.HasMoved);
        Assert.Equal(0.1, told.LearningRate);
    }

    /// <summary>A batch that fails takes those that waited for it along: nothing of them is in the next step.</summary>
    [Fact]
    public void Failure_ForgetsTheBatchesOfItsStep()
    {
        using var scope = NewDisposeScope();
        using var model = Network(true);
        using var same = Network(true);
        using var trainer = new Trainer(model, Options with { Accumulate = 2 });
        using var other = new Trainer(same, Options with { Accumulate = 2 });
        var (images, labels) = Batch(3, 4);
        var before = Weights(model);
        trainer.TrainStep(images, labels);
        Assert.Throws<DivergedException>(() => trainer.TrainStep(images * double.NaN, labels));
        trainer.CompleteStep();
        Assert.Equal(before, Weights(model));
        foreach (var one in new[] { trainer, other })
        {
            one.TrainStep(images, labels);
            one.TrainStep(images + 1, labels);
        }

        Assert.Equal(Weights(same), Weights(model));
    }

    [Fact]
    public void ClipNorm_StopsWhereTheGradientIsNotFinite()
    {
        using var scope = NewDisposeScope();
        using var model = nn.Linear(3, 2);
        // The root's slope at 0 is infinite, its value is not.
        var root = LossFunction.Custom("root", (scores, _) => (scores * 0).sum().sqrt());
        using var trainer = new Trainer(model, Options with { ClipNorm = 1, Loss = root });
        var before = model.parameters().SelectMany(p => p.data<float>()).ToList();
        Assert.Contains(
            "the norm of the gradient is NaN",
            Assert.Throws<DivergedException>(() => trainer.TrainStep(ones(2, 3), zeros(2, ScalarType.Int64))).Message);
        Assert.Equal(before, model.parameters().SelectMany(p => p.data<float>()));
    }

    private static (Tensor Images, Tensor Labels) Batch(int seed, int count) =>
        (Truth.Normal(seed, count, 3, 5, 5), tensor(Enumerable.Range(0, count).Select(i => (long)((i * 7) + seed) % 4).ToArray()));

    private static List<double> Weights(nn.Module model) => [.. model.parameters().SelectMany(p => p.detach().data<double>())];

    // No batch normalization: the gradient of a batch is the mean of its images'.
    private static nn.Module<Tensor, Tensor> Network(bool inPlace)
    {
        using var seeded = new RandomNumbers(7).TorchScope();
        nn.Module<Tensor, Tensor> Function() => nn.Sequential(nn.Conv2d(4, 4, 3, padding: 1), nn.ReLU());
        var network = nn.Sequential(
            nn.Conv2d(3, 4, 1),
            new ResidualStage(
                [Function(), Function(), Function()],
                new StageOptions { Reconstruction = Reconstruction.Backprop, AccumulateGradientsInPlace = inPlace }),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 4));
        return network.to(ScalarType.Float64);
    }
}
