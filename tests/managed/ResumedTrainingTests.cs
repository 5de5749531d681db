using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Whatever a run is made of, it goes on from a file bit for bit: between epochs, and between any two steps.</summary>
public sealed class ResumedTrainingTests : IDisposable
{
    private static readonly TrainingOptions Plain = new() { Epochs = 2, LearningRate = 0.01, SaveSteps = 1, SaveInterval = null };

    private static readonly Dictionary<string, TrainingOptions> All = new()
    {
        ["AdamW"] = Plain with { Optimizer = OptimizerChoice.AdamW(), ClipNorm = 0.5, Schedule = Schedule.Cosine.ByStep().WarmUp(1) },
        ["average"] = Plain with { AverageDecay = 0.9, Schedule = Schedule.Cosine.WarmUpSteps(3), FreezeNorms = true },
        ["mixup"] = Plain with { Mixup = new(0.4, 3), Loss = LossFunction.CrossEntropy(0.1), Optimizer = OptimizerChoice.Sgd(0) },
        ["groups of two"] = Plain with { Accumulate = 2, Optimizer = OptimizerChoice.AdamW(), AverageDecay = 0.5, Mixup = new(1, 1) },
        ["groups of three"] = Plain with { Accumulate = 3, Schedule = Schedule.Thirds.ByStep() },
        ["one's own"] = Plain with
        {
            Optimizer = OptimizerChoice.Custom(
                "adamax",
                groups => optim.Adamax(groups.Select(g => new TorchSharp.Modules.Adamax.ParamGroup(g.Parameters, g.LearningRate)))),
            Schedule = Schedule.Custom("falling", (time, epochs) => 1 / (1 + time)).ByStep(),
            EvaluationModules = @"norm",
        },
    };

    private readonly string folder = Directory.CreateTempSubdirectory("resumed").FullName;

    public static TheoryData<string> Names => [.. All.Keys];

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [MemberData(nameof(Names))]
    public void Run_GoesOnFromAnyStep(string name)
    {
        var options = All[name];
        using var straight = Network(1);
        var files = new List<string>();
        using (var trainer = new Trainer(straight, options))
        {
            trainer.SaveDue = () =>
            {
                files.Add(Path.Combine(folder, $"{files.Count}.bin"));
                trainer.Save(files[^1]);
            };
            Run(trainer);
            // Five batches in an epoch, of which the last is smaller: saved where a step is made, and at the end of the epoch.
            var within = options.Accumulate switch { 1 => 5, 2 => 2, _ => 1 };
            Assert.Equal(2 * (within + 1), files.Count);
        }

        // Those of the first epoch, and the next.
        foreach (var file in files.Take(7))
        {
            using var model = Network(2);
            using var trainer = new Trainer(model, options);
            trainer.Resume(file);
            Run(trainer);
            Assert.Equal(Bits(straight), Bits(model));
            trainer.Save(Path.Combine(folder, "end.bin"));
            AssertSameTensors(files[^1], Path.Combine(folder, "end.bin"));
        }
    }

    /// <summary>Stopped in the middle of a step, a run first makes it whole; a file can't be written there.</summary>
    [Fact]
    public void Step_IsNotCut()
    {
        var options = Plain with { Accumulate = 3 };
        var file = Path.Combine(folder, "c.bin");
        using var straight = Network(1);
        using (var trainer = new Trainer(straight, options))
        {
            Run(trainer);
        }

        using var model = Network(1);
        using var stop = new CancellationTokenSource();
        using (var trainer = new Trainer(model, options))
        {
            trainer.Progress = p =>
            {
                if (p.Step == 1)
                {
                    Assert.False(p.HasMoved);
                    Assert.Contains(
                        "a checkpoint stands between two steps", Assert.Throws<ResNetNodesException>(() => trainer.Save(file)).Message);
                    Assert.False(File.Exists(file));
                    stop.Cancel();
                }
            };
            trainer.SaveDue = () => trainer.Save(file);
            Assert.Throws<OperationCanceledException>(() => Run(trainer, stop.Token));
            Assert.Equal(3, trainer.StepsOfEpoch);
        }

        using var next = Network(2);
        using var resumed = new Trainer(next, options);
        resumed.Resume(file);
        Run(resumed);
        Assert.Equal(Bits(straight), Bits(next));
    }

    /// <summary>An observer that throws within a step leaves it open: the same trainer goes on with the batches that are missing.</summary>
    [Fact]
    public void Step_GoesOnAfterAnObserversFailure()
    {
        var options = Plain with { Accumulate = 3 };
        using var straight = Network(1);
        using (var trainer = new Trainer(straight, options))
        {
            Run(trainer);
        }

        using var model = Network(1);
        using var broken = new Trainer(model, options);
        broken.Progress = p => _ = p.Step == 2 ? throw new InvalidOperationException() : 0;
        Assert.Throws<InvalidOperationException>(() => Run(broken));
        broken.Progress = null;
        Run(broken);
        Assert.Equal(Bits(straight), Bits(model));
    }

    /// <summary>Patience counts epochs of earlier starts, and ends a run that would go on.</summary>
    [Fact]
    public void Patience_EndsARunAfterSoManyEpochs()
    {
        // Nothing is learned: the first epoch stays the best.
        var options = Plain with { Epochs = 9, LearningRate = 1e-30, WeightDecay = 0, Patience = 2, FreezeNorms = true };
        using var model = Network(1);
        using var trainer = new Trainer(model, options);
        Run(trainer);
        Assert.Equal((3, 1), (trainer.History.Count, trainer.BestEpoch));
        Assert.All(trainer.History, m => Assert.Equal(trainer.Test(Validation()), (m.ValidationLoss!.Value, m.ValidationAccuracy!.Value)));
        var file = Path.Combine(folder, "p.bin");
        trainer.Save(file);
        using var other = Network(2);
        using var resumed = new Trainer(other, options);
        resumed.Resume(file);
        Run(resumed);
        Assert.Equal(3, resumed.History.Count);
        Assert.Contains(
            "patience needs validation images",
            Assert.Throws<ArgumentException>(
                () => resumed.Run(TestLoaders.Small(4, 2), Validation(), _ => { })).Message);
        // Resumed without the validation images is another run.
        using var without = new Trainer(other, options with { Patience = null });
        Assert.Contains(
            "the patience was 2, here it is none; take 2", Assert.Throws<ResNetNodesException>(() => without.Resume(file)).Message);
    }

    private static ResNetNodes.Data.BatchLoader Validation() => TestLoaders.Small(8, 8, null, 3);

    private static void Run(Trainer trainer, CancellationToken cancellation = default) => trainer.Run(
        TestLoaders.Small(18, 4, 1), TestLoaders.Small(6, 6), _ => { }, cancellation, Validation());

    private static nn.Module<Tensor, Tensor> Network(int seed)
    {
        using var seeded = new RandomNumbers(seed).TorchScope();
        nn.Module<Tensor, Tensor> Function() =>
            nn.Sequential(("conv", nn.Conv2d(4, 4, 3, padding: 1)), ("norm", nn.BatchNorm2d(4)), ("relu", nn.ReLU()));
        return nn.Sequential(
            nn.Conv2d(3, 4, 1),
            new ResidualStage([Function(), Function()], new StageOptions { AccumulateGradientsInPlace = true }),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 4));
    }

    private static List<float> Bits(nn.Module model) =>
        [.. model.state_dict().Values.SelectMany(t => t.to(ScalarType.Float32).data<float>())];

    // What follows the header are the tensors: of the network, of the optimizer and of the average.
    private static void AssertSameTensors(string one, string other)
    {
        using var first = CheckpointFile.Open(one);
        using var second = CheckpointFile.Open(other);
        var length = (int)first.Header.Tensors.Sum(t => t.Bytes) + 32;
        Assert.Equal(first.Header.Tensors.Select(t => (t.Role, t.Name)), second.Header.Tensors.Select(t => (t.Role, t.Name)));
        Assert.Equal(File.ReadAllBytes(one)[^length..^32], File.ReadAllBytes(other)[^length..^32]);
    }
}
