using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>The average of weights: against a loop of its definition.</summary>
public sealed class WeightAverageTests
{
    [Theory]
    [InlineData(ScalarType.Float64, 0.9, 1e-14)]
    [InlineData(ScalarType.Float64, 0.3, 1e-14)]
    [InlineData(ScalarType.Float32, 0.9, 1e-6)]
    // Rounded to its 8 bits when it is looked at, and not in every step.
    [InlineData(ScalarType.BFloat16, 0.9, 4e-3)]
    public void UseAverage_PutsItIntoTheNetwork(ScalarType type, double decay, double tolerance)
    {
        using var scope = NewDisposeScope();
        using var model = Network(type);
        using var trainer = new Trainer(model, new TrainingOptions { AverageDecay = decay, LearningRate = 0.05 });
        var average = Values(model);
        for (var step = 1; step <= 12; step++)
        {
            trainer.TrainStep(Truth.Normal(step, 6, 3), tensor(new long[] { 0, 1, 0, 1, 0, 1 }));
            var d = Math.Min(decay, (1.0 + step) / (10 + step));
            average = [.. average.Zip(Values(model), (a, w) => (d * a) + ((1 - d) * w))];
        }

        var (bytes, counted) = (Bytes(model), Count(model));
        using (trainer.UseAverage())
        {
            Assert.All(average.Zip(Values(model)), pair => Assert.Equal(pair.First, pair.Second, tolerance * (1 + Math.Abs(pair.First))));
            // A whole number has no average.
            Assert.Equal(counted, Count(model));
            string[] refusals =
            [
                Assert.Throws<ResNetNodesException>(() => trainer.TrainStep(ones(2, 3), ones(2, ScalarType.Int64))).Message,
                Assert.Throws<ResNetNodesException>(() => trainer.Save("/nowhere/file")).Message,
                Assert.Throws<ResNetNodesException>(() => trainer.Resume("/nowhere/file")).Message,
                Assert.Throws<ResNetNodesException>(() => trainer.UseAverage()).Message,
            ];
            Assert.All(refusals, message => Assert.Contains("first dispose what UseAverage has given", message));
        }

        Assert.Equal(bytes, Bytes(model));
        Assert.NotEqual(average, Values(model));
        trainer.TrainStep(Truth.Normal(99, 6, 3), zeros(6, ScalarType.Int64));
    }

    /// <summary>Tests see the average, and training does not.</summary>
    [Fact]
    public void Evaluate_TakesTheAverage()
    {
        using var model = Images(1);
        using var same = Images(1);
        using var trainer = new Trainer(model, new TrainingOptions { AverageDecay = 0.9, Epochs = 2 });
        using var plain = new Trainer(same, new TrainingOptions { Epochs = 2 });
        trainer.Run(TestLoaders.Small(24, 5, 1), TestLoaders.Small(9, 4), _ => { });
        plain.Run(TestLoaders.Small(24, 5, 1), TestLoaders.Small(9, 4), _ => { });
        Assert.Equal(Bytes(same), Bytes(model));
        Assert.Equal(plain.History.Select(m => m.TrainLoss), trainer.History.Select(m => m.TrainLoss));
        Assert.NotEqual(plain.History[1].TestLoss, trainer.History[1].TestLoss);
        using var lent = trainer.UseAverage();
        Copy(model, same);
        Assert.Equal(trainer.History[1].TestLoss, plain.Evaluate(TestLoaders.Small(9, 4)).Loss);
    }

    /// <summary>A network alone is written as it is tested.</summary>
    [Fact]
    public void SaveNetwork_WritesTheAverage()
    {
        var file = Path.Combine(Directory.CreateTempSubdirectory("average").FullName, "n.bin");
        using var model = Images(1);
        using var read = Images(2);
        using var trainer = new Trainer(model, new TrainingOptions { AverageDecay = 0.9, Epochs = 1 });
        trainer.Run(TestLoaders.Small(24, 5, 1), TestLoaders.Small(9, 4), _ => { });
        var own = Bytes(model);
        trainer.SaveNetwork(file);
        Assert.Equal(own, Bytes(model));
        Assert.Single(Checkpoint.Load(file, read, null));
        using (trainer.UseAverage())
        {
            Assert.Equal(Bytes(model), Bytes(read));
        }

        Directory.Delete(Path.GetDirectoryName(file)!, recursive: true);
    }

    /// <summary>What never changes is not kept twice.</summary>
    [Fact]
    public void FrozenParameters_AreNotKept()
    {
        using var model = Network(ScalarType.Float32);
        model.parameters().First().requires_grad = false;
        using var average = new WeightAverage(model, 0.9);
        Assert.Equal(
            ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "1.running_mean", "1.running_var"],
            average.Tensors.Select(t => t.Name));
    }

    private static void Copy(nn.Module from, nn.Module to)
    {
        using var guard = no_grad();
        foreach (var (source, target) in from.state_dict().Values.Zip(to.state_dict().Values))
        {
            target.copy_(source);
        }
    }

    private static nn.Module<Tensor, Tensor> Images(int seed)
    {
        using var seeded = new RandomNumbers(seed).TorchScope();
        return nn.Sequential(nn.Flatten(), nn.Linear(75, 8), nn.BatchNorm1d(8), nn.Linear(8, 4));
    }

    private static nn.Module<Tensor, Tensor> Network(ScalarType type)
    {
        using var seeded = new RandomNumbers(4).TorchScope();
        return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)).to(type);
    }

    private static List<double> Values(nn.Module model) =>
        [.. model.state_dict().Values.Where(t => t.is_floating_point()).SelectMany(t => t.detach().to(ScalarType.Float64).data<double>())];

    private static long Count(nn.Module model) => model.named_buffers().Single(b => b.buffer.dtype == ScalarType.Int64).buffer.item<long>();

    private static List<byte[]> Bytes(nn.Module model) => [.. model.state_dict().Values.Select(t => t.detach().bytes.ToArray())];
}
