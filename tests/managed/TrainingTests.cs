using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class TrainingTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("training").FullName;
    private readonly ImageDataset images = SyntheticImages.Create(60, 1);

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void TinyResNet_HasTheUsualParametersAndIsSeeded()
    {
        using var scope = NewDisposeScope();
        using var model = Model(5);
        var expected = (3 * 16 * 25) + 32 + (5 * 2 * ((16 * 16 * 9) + 16 + 32)) + (64 * 10) + 10;
        Assert.Equal(expected, model.parameters().Sum(p => p.numel()));
        using var same = Model(5);
        Assert.Equal(Bits(model), Bits(same));
        Assert.Equal([4, 10], model.call(rand(4, 3, 32, 32)).shape);
        // Zero-initialized functions: the stage is the identity.
        Assert.Equal(0f, model.Stage.call(ones(1, 16, 10, 10)).sub(1).abs().max().item<float>());
    }

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
    public void Run_SaysWhereTheTimeOfAnEpochGoes()
    {
        using var model = Model(3);
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 1 });
        trainer.Run(new BatchLoader(images, Augmentation.Cifar, 20, 1), new BatchLoader(images, Augmentation.Cifar.WithoutRandomness(), 20, null), _ => { });
        var epoch = Assert.Single(trainer.History);
        Assert.All([epoch.StageShare, epoch.OptimizerShare], share => Assert.InRange(share, double.Epsilon, 1));
        // Parts of a whole that do not overlap.
        Assert.InRange(epoch.StageShare + epoch.OptimizerShare, 0, epoch.StepShare);
        Assert.InRange(epoch.StepShare + epoch.WaitedShare, 0, 1);
    }

    [Fact]
    public void Allocator_LeavesWhatTheEnvironmentSays()
    {
        const string variable = "MALLOC_TRIM_THRESHOLD_";
        var before = Environment.GetEnvironmentVariable(variable);
        try
        {
            Environment.SetEnvironmentVariable(variable, "131072");
            Assert.False(Allocator.KeepFreedMemory());
        }
        finally
        {
            Environment.SetEnvironmentVariable(variable, before);
        }
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

    [Theory]
    [InlineData("missing", "can't be read")]
    [InlineData("foreign", "is no checkpoint")]
    [InlineData("flipped", "is damaged")]
    [InlineData("truncated", "is damaged")]
    [InlineData("other", "is of another network")]
    public void Checkpoint_RefusesABadFile(string damage, string message)
    {
        var path = Path.Combine(folder, "c.bin");
        using var model = Model(2);
        Train(model, 1, null, path);
        var bytes = File.ReadAllBytes(path);
        switch (damage)
        {
            case "missing":
                File.Delete(path);
                break;
            case "foreign":
                File.WriteAllText(path, "something else");
                break;
            case "flipped":
                bytes[bytes.Length / 2] ^= 1;
                File.WriteAllBytes(path, bytes);
                break;
            case "truncated":
                File.WriteAllBytes(path, bytes[..^100]);
                break;
        }

        using var target = Model(damage == "other" ? 3 : 2);
        var error = Assert.Throws<ResNetNodesException>(() => Checkpoint.Load(path, target, null));
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void WholeFile_LeavesNothingHalfWritten()
    {
        var path = Path.Combine(folder, "none", "file.txt");
        Assert.Throws<ResNetNodesException>(() => WholeFile.Write(path, "text"));
        Assert.Throws<ResNetNodesException>(() => WholeFile.Write("/dev/full/file", "text"));
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));
    }

    [Theory]
    [InlineData("constant", 1, 1, 1)]
    [InlineData("cosine", 1, 0.75, 0.25)]
    [InlineData("thirds", 1, 0.1, 0.01)]
    [InlineData("steps:1+2", 1, 0.1, 0.01)]
    [InlineData("every:1*0.5", 1, 0.5, 0.25)]
    [InlineData("every:2*0.33", 1, 1, 0.33)]
    public void Schedule_PrintsParsesAndFalls(string text, double first, double second, double third)
    {
        var schedule = Schedule.Parse(text);
        Assert.Equal(text, schedule.ToString());
        Assert.Equal([first, second, third], new[] { 0, 1, 2 }.Select(e => Math.Round(schedule.Factor(e, 3), 10)));
        Assert.All(["steps:a", "every:0*0.5", "every:5", "every:5*2", "every:5*x"], wrong => Assert.Throws<ArgumentException>(() => Schedule.Parse(wrong)));
    }

    /// <summary>Against SGD's definition: g ← g + decay·p; v ← momentum·v + g; p ← p − rate·v, two steps.</summary>
    [Fact]
    public void TrainStep_DecaysAndMovesAsDefined()
    {
        var options = new TrainingOptions { LearningRate = 0.05, Momentum = 0.9, WeightDecay = 0.01, StageRateFactor = 3, NamedWeightDecay = new(@"\.norm2\.", 0.2) };
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
        Assert.All(model.named_parameters().Zip(same.parameters()), pair => Assert.True(pair.First.parameter.allclose(pair.Second, 1e-5, 1e-6), pair.First.name));
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
        Assert.All(model.named_parameters().Zip(before), pair => Assert.Equal(pair.First.name.StartsWith("head", StringComparison.Ordinal), !pair.First.parameter.allclose(pair.Second, 0, 0)));
        model.parameters().ToList().ForEach(p => p.requires_grad = false);
        Assert.Contains("frozen", Assert.Throws<ArgumentException>(() => new Trainer(model, new TrainingOptions())).Message);
    }

    [Fact]
    public void Options_AreChecked()
    {
        using var model = Model(1);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { LearningRate = double.NaN }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { Epochs = 0 }));
    }

    private static TinyResNet Model(int depth) =>
        new(new TinyResNetOptions { Depth = depth, Seed = 4, Stage = new StageOptions { AccumulateGradientsInPlace = true } });

    private static List<float> Bits(nn.Module model) => [.. model.state_dict().Values.SelectMany(t => t.to(ScalarType.Float32).data<float>())];

    private static List<float> Parameters(nn.Module model) => [.. model.parameters().SelectMany(t => t.data<float>())];

    private List<double> Train(TinyResNet model, int epochs, string? resume, string? save)
    {
        // The schedule does not depend on the number of epochs, so that a run can be cut in two.
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = epochs, LearningRate = 0.05, Schedule = Schedule.Constant });
        if (resume is not null)
        {
            trainer.Resume(resume);
        }

        trainer.Run(new BatchLoader(images, new Augmentation(), 20, 1), new BatchLoader(images, new Augmentation().WithoutRandomness(), 20, null), _ => { });
        if (save is not null)
        {
            trainer.Save(save);
        }

        return [.. trainer.History.Select(m => m.TrainLoss)];
    }
}
