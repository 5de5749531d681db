using ResNetNodes.Data;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class MetricTests
{
    private readonly ImageDataset images = SyntheticImages.Create(30, 2);

    /// <summary>Against a sort of each image's scores; batches of unequal size weigh by their images.</summary>
    [Fact]
    public void Evaluate_IsTheMeanOverTheImages()
    {
        using var scope = NewDisposeScope();
        using var model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10));
        var options = new TrainingOptions
        {
            Metrics =
            [
                Metric.Top(1),
                Metric.Top(3),
                Metric.Top(100),
                new("label", (_, labels) => labels.sum()),
            ],
        };
        using var trainer = new Trainer(model, options);
        var plain = Augmentation.Cifar.WithoutRandomness();
        EvaluationMetrics evaluation = trainer.Evaluate(new BatchLoader(images, plain, 13, null));
        using var all = new BatchLoader(images, plain, 30, null).Epoch(0).Single();
        var scores = model.call(all.Images);
        var labels = all.Labels.data<long>().ToArray();
        double Share(int k) => Enumerable.Range(0, 30).Average(i =>
        {
            var row = scores[i].data<float>().ToArray();
            return row.Index().OrderByDescending(c => c.Item).Take(k).Any(c => c.Index == labels[i]) ? 1.0 : 0;
        });
        Assert.Equal((0, EvaluatedImages.Others), (evaluation.Epoch, evaluation.Images));
        Assert.Equal(Share(1), evaluation.Metrics["top-1"], 12);
        Assert.Equal(evaluation.Accuracy, evaluation.Metrics["top-1"], 12);
        Assert.Equal(Share(3), evaluation.Metrics["top-3"], 12);
        Assert.Equal(1, evaluation.Metrics["top-100"]);
        Assert.Equal(labels.Average(), evaluation.Metrics["label"], 12);
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        using var model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10));
        Assert.Throws<ArgumentOutOfRangeException>(() => Metric.Top(0));
        Assert.Throws<ArgumentException>(() => new Metric("a b", (scores, _) => scores.sum()));
        Assert.Contains(
            "two metrics are called top-2",
            Assert.Throws<ArgumentException>(
                () => new Trainer(model, new TrainingOptions { Metrics = [Metric.Top(2), Metric.Top(2)] })).Message);
        using var trainer = new Trainer(model, new TrainingOptions { Metrics = [new("each", (scores, _) => scores)] });
        Assert.Contains(
            "metric each: expected one number",
            Assert.Throws<ResNetNodesException>(
                () => trainer.Evaluate(new BatchLoader(images, Augmentation.Cifar.WithoutRandomness(), 10, null))).Message);
        Assert.True(model.training);
    }
}
