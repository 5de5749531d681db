using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class LossFunctionTests
{
    /// <summary>Against the formula: −Σ_c t_c log p_c, where t is (1 − s) at the label plus s/C everywhere.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(0.1)]
    [InlineData(0.7)]
    public void CrossEntropy_IsAsDefined(double smoothing)
    {
        using var scope = NewDisposeScope();
        using var model = nn.Identity();
        var scores = Truth.Normal(1, 5, 4);
        long[] labels = [0, 3, 1, 1, 2];
        var expected = 0.0;
        for (var i = 0; i < 5; i++)
        {
            var row = scores[i].data<double>().ToArray();
            var sum = row.Sum(Math.Exp);
            for (var c = 0; c < 4; c++)
            {
                expected -= ((c == labels[i] ? 1 - smoothing : 0) + (smoothing / 4)) * (row[c] - Math.Log(sum)) / 5;
            }
        }

        Assert.Equal(expected, Step(scores, labels, LossFunction.CrossEntropy(smoothing)), 1e-13);
    }

    [Fact]
    public void Custom_IsWhatIsMadeSmaller()
    {
        using var scope = NewDisposeScope();
        var scores = Truth.Normal(1, 5, 4);
        var squares = LossFunction.Custom("squares", (given, labels) => (given - nn.functional.one_hot(labels, 4)).square().mean());
        long[] labels = [0, 3, 1, 1, 2];
        var expected = 0.0;
        for (var i = 0; i < 5; i++)
        {
            for (var c = 0; c < 4; c++)
            {
                expected += Math.Pow(scores[i, c].item<double>() - (c == labels[i] ? 1 : 0), 2) / 20;
            }
        }

        Assert.Equal(expected, Step(scores, labels, squares), 1e-13);
    }

    [Fact]
    public void WhatIsNoNumber_IsRefused()
    {
        using var scope = NewDisposeScope();
        long[] labels = [0, 1];
        var each = LossFunction.Custom("each", (scores, _) => scores);
        Assert.Equal(
            "loss each: gave a tensor [2, 3], expected one number, the mean over the batch",
            Assert.Throws<ResNetNodesException>(() => Step(Truth.Normal(1, 2, 3), labels, each)).Message);
        var none = LossFunction.Custom("none", (_, _) => null!);
        Assert.Contains("gave nothing", Assert.Throws<ResNetNodesException>(() => Step(Truth.Normal(1, 2, 3), labels, none)).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => LossFunction.CrossEntropy(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => LossFunction.CrossEntropy(double.NaN));
        Assert.Contains(
            "can't be called 'Cross-entropy'",
            Assert.Throws<ArgumentException>(() => LossFunction.Custom("Cross-entropy", (scores, _) => scores)).Message);
    }

    [Fact]
    public void Losses_AreEqualByName()
    {
        Assert.Equal(LossFunction.CrossEntropy(0.1), LossFunction.CrossEntropy(0.1));
        Assert.NotEqual(LossFunction.CrossEntropy(0.1), LossFunction.CrossEntropy());
        Assert.Equal("cross-entropy smoothed by 0.1", LossFunction.CrossEntropy(0.1).ToString());
    }

    // The loss that a training step tells of scores that are a network's own parameter.
    private static double Step(Tensor scores, long[] labels, LossFunction loss)
    {
        using var model = new Given(scores);
        using var trainer = new Trainer(model, new TrainingOptions { Loss = loss });
        return trainer.TrainStep(zeros(labels.Length), tensor(labels)).Loss;
    }

    private sealed class Given : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Parameter scores;

        public Given(Tensor scores)
            : base("given")
        {
            this.scores = new TorchSharp.Modules.Parameter(scores.clone());
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => scores.alias();
    }
}
