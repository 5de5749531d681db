using ResNetNodes.Data;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class ITrainingObserverTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("observers").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Observers_AreToldInOrder()
    {
        using var model = Network(1);
        using var trainer = new Trainer(model, new TrainingOptions { Epochs = 2, Accumulate = 2 });
        var told = new List<string>();
        trainer.Observers.Add(new Noting("a", told, trainer));
        trainer.Observers.Add(new Noting("b", told, trainer));
        trainer.Observers.Add(new Silent());
        trainer.Run(
            TestLoaders.Small(12, 4, 1), TestLoaders.Small(6, 6), m => told.Add($"done {m.Epoch}"), validation: TestLoaders.Small(8, 8));
        string[] Epoch(int e) =>
        [
            .. new[]
            {
                $"step {e} 1/3 waits", $"step {e} 2/3 moved", $"step {e} 3/3 waits", $"Test {e}", $"Validation {e}", $"epoch {e} of {e}",
            }
                .SelectMany(text => new[] { $"a {text}", $"b {text}" }),
            $"done {e}",
        ];
        Assert.Equal([.. Epoch(1), .. Epoch(2)], told);
    }

    /// <summary>The options' metrics are told of the images that they are of.</summary>
    [Fact]
    public void Evaluated_HasTheMetrics()
    {
        using var model = Network(1);
        using var trainer = new Trainer(model, new TrainingOptions
        {
            Epochs = 1,
            Metrics = [Metric.Top(2), new("ones", (_, labels) => ones_like(labels).sum())],
        });
        var told = new Evaluations();
        trainer.Observers.Add(told);
        var (test, validation) = (TestLoaders.Small(6, 4), TestLoaders.Small(8, 8, seed: 2));
        trainer.Run(TestLoaders.Small(12, 4, 1), test, _ => { }, validation: validation);
        Assert.Equal([EvaluatedImages.Test, EvaluatedImages.Validation], told.All.Select(e => e.Images));
        foreach (var (evaluation, loader) in told.All.Zip([test, validation]))
        {
            var again = trainer.Evaluate(loader);
            Assert.Equal((again.Loss, again.Accuracy, 1), (evaluation.Loss, evaluation.Accuracy, evaluation.Epoch));
            Assert.Equal((again.Metrics["top-2"], 1), (evaluation.Metrics["top-2"], evaluation.Metrics["ones"]));
        }

        var epoch = trainer.History[0];
        Assert.Equal((told.All[0].Loss, told.All[1].Loss), (epoch.TestLoss, epoch.ValidationLoss));
    }

    /// <summary>Wherever it throws, its exception comes out; what was told is done, and a saved run goes on from there.</summary>
    [Theory]
    [InlineData("step 2 2/3", 1)]
    [InlineData("Test 2", 1)]
    [InlineData("Validation 1", 0)]
    [InlineData("epoch 1", 1)]
    [InlineData("epoch 2", 2)]
    public void ThrowingObserver_EndsTheRun(string at, int epochs)
    {
        var options = new TrainingOptions { Epochs = 3, Schedule = Schedule.Constant };
        using var straight = Network(1);
        using (var trainer = new Trainer(straight, options))
        {
            Run(trainer);
        }

        using var model = Network(1);
        using var broken = new Trainer(model, options);
        var file = Path.Combine(folder, "c.bin");
        broken.Save(file);
        broken.Observers.Add(new Saving(broken, file));
        broken.Observers.Add(new Throwing(at, broken));
        Assert.Equal(at, Assert.Throws<InvalidOperationException>(() => Run(broken)).Message);
        Assert.Equal(epochs, broken.History.Count);
        Assert.True(model.training);
        using var next = Network(2);
        using var resumed = new Trainer(next, options);
        resumed.Resume(file);
        Assert.Equal(epochs, resumed.History.Count);
        Run(resumed);
        Assert.Equal(Bits(straight), Bits(next));
        // The one that broke is still of use.
        broken.Observers.Clear();
        broken.Resume(file);
        Run(broken);
        Assert.Equal(Bits(straight), Bits(model));
    }

    private static void Run(Trainer trainer) => trainer.Run(
        TestLoaders.Small(12, 4, 1), TestLoaders.Small(6, 6), _ => { }, validation: TestLoaders.Small(8, 8));

    private static nn.Module<Tensor, Tensor> Network(int seed)
    {
        using var seeded = new RandomNumbers(seed).TorchScope();
        return nn.Sequential(nn.Flatten(), nn.Linear(75, 8), nn.BatchNorm1d(8), nn.Linear(8, 4));
    }

    private static List<float> Bits(nn.Module model) =>
        [.. model.state_dict().Values.SelectMany(t => t.to(ScalarType.Float32).data<float>())];

    private sealed class Silent : ITrainingObserver;

    private sealed class Evaluations : ITrainingObserver
    {
        public List<EvaluationMetrics> All { get; } = [];

        public void Evaluated(EvaluationMetrics evaluation) => All.Add(evaluation);
    }

    private abstract class Texts(Trainer trainer) : ITrainingObserver
    {
        public void StepFinished(TrainingProgress progress) =>
            Take($"step {progress.Epoch} {progress.Step}/{progress.Steps} {(progress.HasMoved ? "moved" : "waits")}");

        public void Evaluated(EvaluationMetrics evaluation) => Take($"{evaluation.Images} {evaluation.Epoch}");

        public void EpochFinished(EpochMetrics metrics) => Take($"epoch {metrics.Epoch} of {trainer.History.Count}");

        protected abstract void Take(string text);
    }

    private sealed class Noting(string name, List<string> told, Trainer trainer) : Texts(trainer)
    {
        protected override void Take(string text) => told.Add($"{name} {text}");
    }

    private sealed class Throwing(string at, Trainer trainer) : Texts(trainer)
    {
        protected override void Take(string text)
        {
            if (text.StartsWith(at, StringComparison.Ordinal))
            {
                throw new InvalidOperationException(at);
            }
        }
    }

    private sealed class Saving(Trainer trainer, string file) : ITrainingObserver
    {
        public void EpochFinished(EpochMetrics metrics) => trainer.Save(file);
    }
}
