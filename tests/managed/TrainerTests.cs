using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class TrainerTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("training").FullName;
    private readonly ImageDataset images = SyntheticImages.Create(60, 1);

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Run_ResumedEqualsUninterruptedBitForBit()
    {
        using var straight = Model(3);
        Train(straight, 4, null, null);
        using var first = Model(3);
        Train(first, 2, null, Path.Combine(folder, "c.bin"));
        random.manual_seed(99);
        using var second = Model(3);
        Train(second, 4, Path.Combine(folder, "c.bin"), null);
        Assert.Equal(Bits(straight), Bits(second));
    }

    [Fact]
    public void Run_TwiceWithOneSeedGivesTheSameBits()
    {
        using var a = Model(3);
        using var b = Model(3);
        Assert.Equal(Train(a, 1, null, null), Train(b, 1, null, null));
        Assert.Equal(Bits(a), Bits(b));
    }

    [Fact]
    public void ASecondThread_IsRefused()
    {
        using var model = Model(3);
        var refusals = new List<string>();
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 1 });
        Action[] calls =
        [
            () => trainer.TrainStep(zeros(2, 3, 32, 32), zeros(2, ScalarType.Int64)),
            () => trainer.Test(new BatchLoader(images, Augmentation.Cifar, 20, null)),
            () => trainer.Save(Path.Combine(folder, "other.bin")),
            () => trainer.Resume(Path.Combine(folder, "other.bin")),
        ];
        trainer.Progress = _ =>
        {
            if (refusals.Count == 0)
            {
                TestThreads.Run(1, _ => refusals.AddRange(calls.Select(call => Assert.Throws<ResNetNodesException>(call).Message)));
            }
        };
        trainer.Run(
            new BatchLoader(images, Augmentation.Cifar, 20, 1),
            new BatchLoader(images, Augmentation.Cifar, 20, null),
            _ => trainer.Save(Path.Combine(folder, "mine.bin")));
        Assert.Equal(Enumerable.Repeat("the trainer is in use by another thread; it serves one at a time", 4), refusals);
        Assert.Equal(["mine.bin"], Directory.EnumerateFiles(folder).Select(Path.GetFileName));
    }

    [Fact]
    public void Run_SaysWhereTheTimeOfAnEpochGoes()
    {
        using var model = Model(3);
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 1 });
        trainer.Run(
            new BatchLoader(images, Augmentation.Cifar, 20, 1),
            new BatchLoader(images, Augmentation.Cifar.WithoutRandomness(), 20, null),
            _ => { });
        var epoch = Assert.Single(trainer.History);
        Assert.All([epoch.StageShare, epoch.OptimizerShare], share => Assert.InRange(share, double.Epsilon, 1));
        // Parts of a whole that do not overlap.
        Assert.InRange(epoch.StageShare + epoch.OptimizerShare, 0, epoch.StepShare);
        Assert.InRange(epoch.StepShare + epoch.WaitedShare, 0, 1);
    }

    [Fact]
    public void Progress_TellsEveryStep()
    {
        var steps = new List<TrainingProgress>();
        using var model = Model(1);
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 2 }) { Progress = steps.Add };
        var loader = new BatchLoader(images, Augmentation.Cifar.WithoutRandomness(), 25, null);
        trainer.Run(loader, loader, _ => { });
        Assert.Equal([(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)], steps.Select(step => (step.Epoch, step.Step)));
        Assert.All(steps, step => Assert.True(step.Steps == 3 && double.IsFinite(step.Loss)));
        // 25, 25 and 10 images.
        Assert.Equal(trainer.History[0].TrainLoss, ((steps[0].Loss * 25) + (steps[1].Loss * 25) + (steps[2].Loss * 10)) / 60, 6);
    }

    [Fact]
    public void Run_StopsBetweenStepsWhenCancelled()
    {
        using var cancelled = new CancellationTokenSource();
        using var model = Model(1);
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 2 }) { Progress = _ => cancelled.Cancel() };
        var loader = new BatchLoader(images, Augmentation.Cifar.WithoutRandomness(), 25, null);
        Assert.Throws<OperationCanceledException>(() => trainer.Run(loader, loader, _ => { }, cancelled.Token));
        Assert.Empty(trainer.History);
    }

    /// <summary>Against a plain sum over the images: batches of unequal size weigh by their images.</summary>
    [Fact]
    public void Test_CountsEveryImageTheSame()
    {
        using var scope = NewDisposeScope();
        using var model = Model(1);
        using var trainer = new Trainer(model, new TrainingOptions());
        var (loss, accuracy) = trainer.Test(new BatchLoader(images, Augmentation.Cifar.WithoutRandomness(), 25, null));
        using var all = new BatchLoader(images, Augmentation.Cifar.WithoutRandomness(), 60, null).Epoch(0).Single();
        Assert.True(model.training);
        model.eval();
        var scores = model.call(all.Images);
        Assert.Equal(nn.functional.cross_entropy(scores, all.Labels).item<float>(), loss, 5);
        Assert.Equal(scores.argmax(1).eq(all.Labels).sum().item<long>() / 60.0, accuracy, 12);
    }

    [Fact]
    public void TrainStep_StopsOnALossThatIsNotFinite()
    {
        using var model = Model(2);
        using var trainer = new Trainer(model, new TrainingOptions());
        using var broken = full([4, 3, 32, 32], float.NaN);
        using var labels = zeros(4, ScalarType.Int64);
        var before = Parameters(model);
        Assert.Contains("diverged", Assert.Throws<DivergedException>(() => trainer.TrainStep(broken, labels)).Message);
        Assert.Equal(before, Parameters(model));
    }

    /// <summary>Against SGD's definition: g ← g + decay·p; v ← momentum·v + g; p ← p − rate·v, two steps.</summary>
    [Fact]
    public void TrainStep_DecaysAndMovesAsDefined()
    {
        var options = new TrainingOptions
        {
            LearningRate = 0.05,
            Optimizer = OptimizerChoice.Sgd(0.9),
            WeightDecay = 0.01,
            StageRateFactor = 3,
            NamedWeightDecay = new(@"\.norm2\.", 0.2)
        };
        using var model = Model(2);
        using var same = Model(2);
        using var trainer = new Trainer(model, options);
        using var scope = NewDisposeScope();
        var (pictures, labels) = (rand(8, 3, 32, 32), randint(0, 10, 8, ScalarType.Int64));
        var velocity = same.parameters().Select(p => zeros_like(p)).ToList();
        for (var step = 0; step < 2; step++)
        {
            trainer.TrainStep(pictures, labels);
            same.parameters().ToList().ForEach(p => p.grad = null);
            nn.functional.cross_entropy(same.call(pictures), labels).backward();
            using var guard = no_grad();
            foreach (var (i, (name, parameter)) in same.named_parameters().Index())
            {
                var decay = name.Contains(".norm2.", StringComparison.Ordinal) ? 0.2 : 0.01;
                velocity[i] = (0.9 * velocity[i]) + parameter.grad! + (decay * parameter);
                parameter.sub_((name.StartsWith("stage", StringComparison.Ordinal) ? 0.15 : 0.05) * velocity[i]);
            }
        }

        // float32: some roundings of 6e-8 in numbers up to 1.
        Assert.All(
            model.named_parameters().Zip(same.parameters()),
            pair => Assert.True(pair.First.parameter.allclose(pair.Second, 1e-5, 1e-6), pair.First.name));
    }

    /// <summary>Against a loop of the definition in that type; the images' roundings to it included.</summary>
    [Theory]
    [InlineData(ScalarType.Float64, 1e-12)]
    [InlineData(ScalarType.BFloat16, 0.02)]
    public void Run_TrainsANetworkOfAnotherNumberType(ScalarType type, double tolerance)
    {
        using var scope = NewDisposeScope();
        var options = new TrainingOptions { Epochs = 2, LearningRate = 0.05, WeightDecay = 0.01, Schedule = Schedule.Constant };
        using var model = Model(2);
        using var same = Model(2);
        model.to(type);
        same.to(ScalarType.Float64);
        using (no_grad())
        {
            // From the same weights, however they are rounded.
            same.parameters().Zip(model.parameters()).ToList().ForEach(pair => pair.First.copy_(pair.Second));
        }

        using var trainer = new Trainer(model, options);
        var plain = new Augmentation().WithoutRandomness();
        trainer.Run(new BatchLoader(images, plain, 20, 1), new BatchLoader(images, plain, 20, null), _ => { });
        var velocity = same.parameters().Select(p => zeros_like(p)).ToList();
        var losses = new double[2];
        foreach (var epoch in new[] { 0, 1 })
        {
            foreach (var batch in new BatchLoader(images, plain, 20, 1).Epoch(epoch))
            {
                same.parameters().ToList().ForEach(p => p.grad = null);
                using var loss = nn.functional.cross_entropy(same.call(batch.Images.to(type).to(ScalarType.Float64)), batch.Labels);
                losses[epoch] += loss.item<double>() / 3;
                loss.backward();
                using var guard = no_grad();
                foreach (var (i, parameter) in same.parameters().Index())
                {
                    velocity[i] = (0.9 * velocity[i]) + parameter.grad! + (0.01 * parameter);
                    parameter.sub_(0.05 * velocity[i]);
                }
            }
        }

        Assert.All(trainer.History.Zip(losses), pair => Assert.Equal(pair.Second, pair.First.TrainLoss, tolerance * pair.Second));
        Assert.All(model.named_parameters(), p => Assert.Equal(type, p.parameter.dtype));
        if (type == ScalarType.Float64)
        {
            Assert.All(
                model.named_parameters().Zip(same.parameters()),
                pair => Assert.True(pair.First.parameter.allclose(pair.Second, 1e-9, 1e-12), pair.First.name));
        }
    }

    [Theory]
    [InlineData(ScalarType.Float64)]
    [InlineData(ScalarType.BFloat16)]
    public void Run_OfAnotherNumberTypeResumesBitForBit(ScalarType type)
    {
        using var straight = Model(2);
        using var first = Model(2);
        using var second = Model(2);
        new[] { straight, first, second }.ToList().ForEach(model => model.to(type));
        Train(straight, 2, null, null);
        Train(first, 1, null, Path.Combine(folder, "c.bin"));
        Train(second, 2, Path.Combine(folder, "c.bin"), null);
        Assert.Equal(
            straight.state_dict().Values.Select(t => t.detach().contiguous().bytes.ToArray()),
            second.state_dict().Values.Select(t => t.detach().contiguous().bytes.ToArray()));
        using var other = Model(2);
        using var trainer = new Trainer(other, new TrainingOptions { Epochs = 2, LearningRate = 0.05, Schedule = Schedule.Constant });
        var error = Assert.Throws<ResNetNodesException>(() => trainer.Resume(Path.Combine(folder, "c.bin")));
        Assert.Contains($"belongs to another network (its number type is {type}, here Float32)", error.Message);
    }

    /// <summary>A layer of LibTorch, in a stage that calls it, and a native one: all refuse, and no running variance becomes NaN.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void TrainStep_RefusesToNormalizeOneValue(StageExecution? execution)
    {
        using var scope = NewDisposeScope();
        nn.Module<Tensor, Tensor> function = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8));
        using var model = nn.Sequential(
            nn.Conv2d(3, 8, 1),
            execution is { } how ? new ResidualStage([function], new StageOptions { Execution = how }) : function,
            nn.Flatten(),
            nn.Linear(8, 10));
        using var trainer = new Trainer(model, new TrainingOptions());
        var error = Assert.Throws<ResNetNodesException>(() => trainer.TrainStep(rand(1, 3, 1, 1), zeros(1, ScalarType.Int64)));
        Assert.Equal(
            "a batch of 1 image can't be normalized at 1×1 pixels: drop the last, smaller batch (dropLast / --drop-last), or take "
            + "another batch size",
            error.Message);
        Assert.All(model.named_buffers(), b => Assert.True(b.buffer.isfinite().all().item<bool>(), b.name));
        // Two images, or normalizations that are frozen, are no matter; nor is the refused step.
        trainer.TrainStep(rand(2, 3, 1, 1), zeros(2, ScalarType.Int64));
        model.modules().OfType<TorchSharp.Modules.BatchNorm2d>().Single().eval();
        trainer.TrainStep(rand(1, 3, 1, 1), zeros(1, ScalarType.Int64));
        if (execution is { } expected)
        {
            Assert.Equal(expected, model.modules().OfType<ResidualStage>().Single().Execution);
        }
    }

    [Fact]
    public void Frozen_ParametersStayAsTheyAre()
    {
        using var model = Model(2);
        foreach (var (name, parameter) in model.named_parameters())
        {
            parameter.requires_grad = name.StartsWith("head", StringComparison.Ordinal);
        }

        using var trainer = new Trainer(model, new TrainingOptions());
        var before = model.named_parameters().Select(p => p.parameter.detach().clone()).ToList();
        trainer.TrainStep(rand(4, 3, 32, 32), zeros(4, ScalarType.Int64));
        Assert.All(
            model.named_parameters().Zip(before),
            pair => Assert.Equal(
                pair.First.name.StartsWith("head", StringComparison.Ordinal), !pair.First.parameter.allclose(pair.Second, 0, 0)));
        model.parameters().ToList().ForEach(p => p.requires_grad = false);
        Assert.Contains("frozen", Assert.Throws<ArgumentException>(() => new Trainer(model, new TrainingOptions())).Message);
    }

    [Fact]
    public void Options_AreChecked()
    {
        NamedWeightDecay negative = new("norm", -1);
        using var model = Model(1);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { LearningRate = double.NaN }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { Epochs = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { Optimizer = OptimizerChoice.Sgd(1) }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { WeightDecay = -1e-9 }));
        Assert.Throws<ArgumentOutOfRangeException>(
            () => new Trainer(model, new TrainingOptions { StageRateFactor = double.PositiveInfinity }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { NamedWeightDecay = negative }));
        Assert.Throws<ArgumentNullException>(() => new Trainer(model, null!));
    }

    private static TinyResNet Model(int depth) =>
        new(new TinyResNetOptions { Depth = depth, Seed = 4, Stage = new StageOptions { AccumulateGradientsInPlace = true } });

    private static List<float> Bits(nn.Module model) =>
        [.. model.state_dict().Values.SelectMany(t => t.to(ScalarType.Float32).data<float>())];

    private static List<float> Parameters(nn.Module model) => [.. model.parameters().SelectMany(t => t.data<float>())];

    private List<double> Train(TinyResNet model, int epochs, string? resume, string? save)
    {
        // The schedule does not depend on the number of epochs, so that a run can be cut in two.
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = epochs, LearningRate = 0.05, Schedule = Schedule.Constant });
        if (resume is not null)
        {
            trainer.Resume(resume);
        }

        trainer.Run(
            new BatchLoader(images, new Augmentation(), 20, 1),
            new BatchLoader(images, new Augmentation().WithoutRandomness(), 20, null),
            _ => { });
        if (save is not null)
        {
            trainer.Save(save);
        }

        return [.. trainer.History.Select(m => m.TrainLoss)];
    }
}
