using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Modules that stay in evaluation mode, over epochs and tests in between.</summary>
public sealed class ModuleModesTests
{
    /// <summary>Their statistics stay, in stages too; those of other networks' move.</summary>
    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void FreezeNorms_KeepsStatistics(StageExecution execution)
    {
        using var model = Network(execution);
        using var moving = Network(execution);
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 2, FreezeNorms = true });
        using var other = new Trainer(moving, new TrainingOptions { Epochs = 2 });
        var before = Buffers(model);
        trainer.Run(TestLoaders.Small(12, 5, 1, size: 32), TestLoaders.Small(6, 6, size: 32), _ => { });
        other.Run(TestLoaders.Small(12, 5, 1, size: 32), TestLoaders.Small(6, 6, size: 32), _ => { });
        Assert.Equal(before, Buffers(model));
        Assert.NotEqual(before, Buffers(moving));
        Assert.All(model.modules().OfType<BatchNorm>(), norm => Assert.False(norm.training));
        Assert.True(model.training);
    }

    /// <summary>Against plain autograd over modules in the same modes, in float64.</summary>
    [Fact]
    public void FreezeNorms_TrainsWithTheRunningStatistics()
    {
        using var scope = NewDisposeScope();
        using var model = Network(StageExecution.Layers);
        using var same = Network(StageExecution.Callback);
        model.to(ScalarType.Float64);
        same.to(ScalarType.Float64);
        var (images, labels) = (Truth.Normal(1, 4, 3, 32, 32), arange(4, ScalarType.Int64));
        using var trainer = new Trainer(model, new TrainingOptions { FreezeNorms = true, LearningRate = 0.1, WeightDecay = 0 });
        trainer.TrainStep(images, labels);
        same.train();
        same.modules().OfType<BatchNorm>().ToList().ForEach(norm => norm.eval());
        nn.functional.cross_entropy(same.call(images), labels).backward();
        using var guard = no_grad();
        Assert.All(
            model.named_parameters().Zip(same.parameters()),
            pair => Assert.True(pair.First.parameter.allclose(pair.Second - (0.1 * pair.Second.grad!), 1e-9, 1e-12), pair.First.name));
    }

    [Fact]
    public void EvaluationModules_StayWhatTheyAre()
    {
        using var model = nn.Sequential(
            ("body", nn.Sequential(nn.Flatten(), nn.Linear(75, 8), nn.Dropout(0.5))), ("drop", nn.Dropout(0.5)), ("head", nn.Linear(8, 4)));
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 1, EvaluationModules = "^body$" });
        trainer.Run(TestLoaders.Small(12, 5, 1), TestLoaders.Small(6, 6), _ => { });
        Assert.Equal(["body", "body.0", "body.1", "body.2"], model.named_modules().Where(m => !m.module.training).Select(m => m.name));
    }

    [Fact]
    public void WhatNamesNothing_IsRefused()
    {
        using var model = nn.Sequential(("body", nn.Linear(3, 3)), ("head", nn.Linear(3, 3)));
        Assert.Contains(
            "the network has none; leave FreezeNorms out",
            Assert.Throws<ArgumentException>(() => new Trainer(model, new TrainingOptions { FreezeNorms = true })).Message);
        Assert.Contains(
            "modules named stem are to stay in evaluation mode, and the network has none of that name; it has body, head",
            Assert.Throws<ArgumentException>(() => new Trainer(model, new TrainingOptions { EvaluationModules = "stem" })).Message);
        Assert.ThrowsAny<ArgumentException>(() => new Trainer(model, new TrainingOptions { EvaluationModules = "(" }));
        Assert.True(model.modules().All(module => module.training));
    }

    private static TinyResNet Network(StageExecution execution) => new(new TinyResNetOptions
    {
        Depth = 2,
        Planes = 4,
        Classes = 4,
        Seed = 1,
        ZeroInit = false,
        Stage = new StageOptions { Execution = execution, Reconstruction = Reconstruction.Backprop },
    });

    private static List<float> Buffers(nn.Module model) =>
        [.. model.named_buffers().SelectMany(b => b.buffer.to(ScalarType.Float32).data<float>())];
}
