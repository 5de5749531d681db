using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class MixupTests
{
    /// <summary>Against pictures mixed one by one, and the losses of both labels.</summary>
    [Fact]
    public void TrainStep_IsThatOfPairs()
    {
        using var scope = NewDisposeScope();
        var mixup = new Mixup(0.8, 5);
        using var model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4));
        model.to(ScalarType.Float64);
        using var trainer = new Trainer(model, new TrainingOptions { Mixup = mixup, LearningRate = 0.5 });
        for (var step = 0; step < 6; step++)
        {
            var (images, labels) = (Truth.Normal(step, 6, 3, 2, 2), tensor(new long[] { 0, 1, 2, 3, 1, 0 }));
            var (share, order) = mixup.Draw(step, 6);
            Assert.Equal(Enumerable.Range(0, 6).Select(i => (long)i), order.Order());
            var (expected, correct) = (0.0, 0);
            for (var i = 0; i < 6; i++)
            {
                var scores = model.call(((share * images[i]) + ((1 - share) * images[order[i]])).unsqueeze(0))[0];
                var likely = nn.functional.log_softmax(scores, 0);
                var (own, other) = (labels[i].item<long>(), labels[order[i]].item<long>());
                expected -= ((share * likely[own].item<double>()) + ((1 - share) * likely[other].item<double>())) / 6;
                correct += scores.argmax().item<long>() == (share >= 0.5 ? own : other) ? 1 : 0;
            }

            var before = images.clone();
            var (loss, right) = trainer.TrainStep(images, labels);
            Assert.Equal(expected, loss, 1e-12);
            Assert.Equal(correct, right);
            Assert.True(images.equal(before).all().item<bool>());
        }
    }

    /// <summary>Mean 1/2 and variance 1/(4(2α + 1)) of Beta(α, α); five standard errors of 4,000 draws.</summary>
    [Theory]
    [InlineData(0.05)]
    [InlineData(0.2)]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(100)]
    public void Share_IsBetaDistributed(double alpha)
    {
        const int draws = 4000;
        var shares = Enumerable.Range(0, draws).Select(i => new Mixup(alpha, 3).Draw(i, 1).Share).ToList();
        var variance = 1 / (4 * ((2 * alpha) + 1));
        Assert.All(shares, share => Assert.InRange(share, 0, 1));
        Assert.InRange(shares.Average(), 0.5 - (5 * Math.Sqrt(variance / draws)), 0.5 + (5 * Math.Sqrt(variance / draws)));
        // The fourth moment of a bounded variable: at most that of a fair coin beside 3·variance².
        var spread = Math.Sqrt(((3 * variance * variance) + (variance / 4)) / draws);
        Assert.InRange(shares.Average(share => Math.Pow(share - 0.5, 2)), variance - (5 * spread), variance + (5 * spread));
    }

    [Fact]
    public void Draw_DependsOnSeedAndBatchAlone()
    {
        var (one, again) = (new Mixup(0.2, 1).Draw(7, 20), new Mixup(0.2, 1).Draw(7, 20));
        Assert.Equal(one.Share, again.Share);
        Assert.Equal(one.Order, again.Order);
        Assert.NotEqual(one.Share, new Mixup(0.2, 2).Draw(7, 20).Share);
        Assert.NotEqual(one.Share, new Mixup(0.2, 1).Draw(8, 20).Share);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(100.1)]
    [InlineData(double.NaN)]
    public void Alpha_IsChecked(double alpha)
    {
        using var model = nn.Linear(2, 2);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, new TrainingOptions { Mixup = new(alpha, 1) }));
    }
}
