using System.Text;
using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Runs that end in the middle of an epoch and go on: the truth is a run that nobody has disturbed.</summary>
public sealed class BegunEpochTests : IDisposable
{
    private const int Epochs = 3;
    private static readonly Augmentation Augmented = new(), Plain = Augmented.WithoutRandomness();

    private readonly string folder = Directory.CreateTempSubdirectory("begun").FullName;
    private readonly ImageDataset images = SyntheticImages.Create(35, 1);

    private string File => Path.Combine(folder, "c.bin");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>
    /// Cut at any steps, the last of an epoch included, in processes or in one: weights, optimizer, generator, what stages have learned
    /// and all metrics but times and memory are the same bits.
    /// </summary>
    [Theory]
    [InlineData("adaptive", 1)]
    [InlineData("dropout", 2)]
    [InlineData("dropout in a stage", 3)]
    [InlineData("float64", 4)]
    public void Run_CutAnywhereEqualsUndisturbed(string network, int seed)
    {
        var straight = Whole(network, images, 4);
        var draws = new Random(seed);
        for (var trial = 0; trial < 3; trial++)
        {
            // 9 steps an epoch; of each trial another cut falls on the last of the first.
            var cuts = Enumerable.Range(0, 4).Select(_ => draws.Next(1, 27)).Append(trial == 0 ? 9 : 1 + (9 * trial)).Distinct().Order();
            var pieces = Pieces(network, images, 4, [.. cuts], fresh: trial < 2);
            Assert.Equal(straight.Results, pieces.Results);
            // Of the last epoch as of all starts together.
            Assert.All(pieces.History, epoch => Assert.InRange(epoch.StepShare + epoch.WaitedShare, double.Epsilon, 1));
        }
    }

    /// <summary>A batch of which no image can be decoded is no step, and counts as done.</summary>
    [Fact]
    public void Run_GoesOnBeyondABatchThatIsLeftOut()
    {
        var damaged = new Damaged(images, i => i is >= 5 and < 15 or 21);
        var straight = Whole("adaptive", damaged, 5, shuffle: null);
        foreach (var cut in new[] { 1, 2, 5, 6, 14 })
        {
            Assert.Equal(straight.Results, Pieces("adaptive", damaged, 5, [cut], fresh: true, shuffle: null).Results);
        }
    }

    [Theory]
    [InlineData(null, null, "1.0 2.0")]
    [InlineData(2, null, "0.2 0.4 0.6 0.8 1.0 1.2 1.4 1.6 1.8 2.0")]
    [InlineData(4, null, "0.4 0.8 1.0 1.4 1.8 2.0")]
    [InlineData(100, null, "1.0 2.0")]
    [InlineData(null, 0, "0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0 1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8 1.9 2.0")]
    [InlineData(3, 1000, "0.3 0.6 0.9 1.0 1.3 1.6 1.9 2.0")]
    public void SaveDue_ComesAsOptionsHaveIt(int? steps, int? minutes, string expected)
    {
        using var model = Network("adaptive");
        var options = Options with { Epochs = 2, SaveSteps = steps, SaveInterval = minutes is { } m ? TimeSpan.FromMinutes(m) : null };
        using var trainer = new Trainer(model, options);
        var last = 0;
        var due = new List<string>();
        var order = new List<string>();
        trainer.Progress = progress => last = progress.Step;
        trainer.SaveDue = () =>
        {
            due.Add($"{trainer.History.Count}.{trainer.StepsOfEpoch}");
            Assert.Contains(trainer.StepsOfEpoch, new[] { 0, last });
            order.Add($"{trainer.History.Count}");
        };
        trainer.Run(Loader(images, 4), Test, epoch => order.Add($"{epoch.Epoch} finished"));
        Assert.Equal(expected.Split(' '), due);
        // After each epoch first, so that a failure of the caller's loses nothing.
        Assert.Equal(["1", "1 finished"], order[(order.IndexOf("1 finished") - 1)..(order.IndexOf("1 finished") + 1)]);
    }

    /// <summary>Whoever saves after a step by themselves has all of it.</summary>
    [Fact]
    public void Save_WhileARunGoesOnHoldsEveryStep()
    {
        var straight = Whole("adaptive", images, 12);
        using (var model = Network("adaptive"))
        {
            random.manual_seed(5);
            using var trainer = new Trainer(model, Options);
            trainer.Progress = p => trainer.Save(Path.Combine(folder, $"{p.Epoch}-{p.Step}.bin"));
            trainer.Run(Loader(images, 12), Test, _ => { });
        }

        foreach (var path in Directory.GetFiles(folder, "?-?.bin"))
        {
            using var model = Network("adaptive");
            using var trainer = new Trainer(model, Options);
            trainer.Resume(path);
            Assert.Equal(Path.GetFileName(path), $"{trainer.History.Count + 1}-{trainer.StepsOfEpoch}.bin");
            trainer.Run(Loader(images, 12), Test, _ => { });
            Assert.Equal(straight.Results, Results(trainer));
        }
    }

    /// <summary>The weights are those of the last step; the epoch is not among the finished ones.</summary>
    [Fact]
    public void Load_ReadsTheWeightsInTheMiddleOfAnEpoch()
    {
        using var model = Network("adaptive");
        using var trainer = Interrupted(model, 5);
        using var read = Network("adaptive");
        Assert.Empty(Checkpoint.Load(File, read, null));
        Assert.Equal(Bytes(model), Bytes(read));
    }

    /// <summary>What the rest of the epoch depends on, in a file or in memory.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Run_RefusesOtherImagesForTheRestOfAnEpoch(bool fresh)
    {
        using var model = Network("adaptive");
        using var first = Interrupted(model, 5);
        using var second = new Trainer(model, Options);
        second.Resume(File);
        var trainer = fresh ? second : first;
        trainer.Progress = null;
        var before = Bytes(model);
        var others = new Dictionary<string, BatchLoader>
        {
            ["the batch size of the training images was 4, here it is 10; take 4"] = Loader(images, 10),
            ["the shuffle seed of the training images was 1, here it is 2; take 1"] = new(images, Augmented, 4, 2),
            ["the last, smaller batch of the training images was kept, here it is left out; take kept"] =
                new(images, Augmented, 4, 1, dropLast: true),
            ["the data set of the training images was synthetic"] = Loader(new Damaged(images, _ => false), 4),
        };
        foreach (var (change, loader) in others)
        {
            var error = Assert.Throws<ResNetNodesException>(() => trainer.Run(loader, Test, _ => { }));
            Assert.StartsWith($"{(fresh ? File : "the epoch that was begun")}: belongs to another run: {change}", error.Message);
            Assert.DoesNotContain('\n', error.Message);
        }

        Assert.Equal(before, Bytes(model));
        Assert.Equal(5, trainer.StepsOfEpoch);
        trainer.Run(Loader(images, 4), Test, _ => { });
        Assert.Equal(Whole("adaptive", images, 4).Results, Results(trainer));
    }

    /// <summary>Cancelled before a step there is nothing to save, and nothing is.</summary>
    [Fact]
    public void Run_CancelledBeforeAStepSavesNothing()
    {
        using var model = Network("adaptive");
        using var trainer = new Trainer(model, Options);
        var saved = 0;
        trainer.SaveDue = () => saved++;
        Assert.ThrowsAny<OperationCanceledException>(() => trainer.Run(Loader(images, 4), Test, _ => { }, new(canceled: true)));
        Assert.Equal((0, 0), (saved, trainer.StepsOfEpoch));
        using var other = Interrupted(model, 5);
        other.SaveDue = () => saved++;
        Assert.ThrowsAny<OperationCanceledException>(() => other.Run(Loader(images, 4), Test, _ => { }, new(canceled: true)));
        Assert.Equal((0, 5), (saved, other.StepsOfEpoch));
    }

    [Fact]
    public void SaveOptions_AreChecked()
    {
        using var model = Network("adaptive");
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, Options with { SaveSteps = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, Options with { SaveInterval = TimeSpan.FromTicks(-1) }));
    }

    // Of a schedule that gives each epoch a rate of its own.
    private static TrainingOptions Options => new() { Epochs = Epochs, LearningRate = 0.02, Schedule = Schedule.Cosine };

    private BatchLoader Test => new(images.Take(12), Plain, 12, null);

    private static BatchLoader Loader(ImageDataset data, int batch, long? shuffle = 1) => new(data, Augmented, batch, shuffle);

    private static nn.Module<Tensor, Tensor> Network(string name)
    {
        random.manual_seed(3);
        var rough = new TinyResNetOptions { Depth = 4, Planes = 4, Seed = 1, ZeroInit = false };
        return name switch
        {
            "adaptive" => new TinyResNet(rough),
            "float64" => (TinyResNet)new TinyResNet(rough).to(ScalarType.Float64),
            "dropout" => nn.Sequential(
                nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 10)),
            _ => nn.Sequential(
                nn.Conv2d(3, 4, 4, 4),
                new ResidualStage(
                    [.. Enumerable.Range(0, 3).Select(_ => nn.Sequential(nn.Conv2d(4, 4, 3, padding: 1), nn.Dropout(0.3)))],
                    new StageOptions { Execution = StageExecution.Callback }),
                nn.Flatten(),
                nn.Linear(256, 10)),
        };
    }

    // All that a checkpoint holds, without times and memory.
    private static string Results(Trainer trainer)
    {
        var path = Path.GetTempFileName();
        trainer.Save(path);
        using var file = CheckpointFile.Open(path);
        System.IO.File.Delete(path);
        using var scope = NewDisposeScope();
        var header = file.Header with
        {
            History = [.. file.Header.History.Select(epoch => epoch with
            {
                Seconds = 0, WaitedShare = 0, StepShare = 0, StageShare = 0, OptimizerShare = 0, PeakBytes = 0,
            })],
        };
        Assert.Null(header.Begun);
        var tensors = header.Tensors.Select(tensor => empty([.. tensor.Shape], tensor.Type)).ToList();
        file.ReadTensors(tensors);
        return Encoding.UTF8.GetString(header.ToBytes())
            + string.Concat(tensors.Select(tensor => Convert.ToHexString(tensor.bytes)));
    }

    private static List<byte[]> Bytes(nn.Module model) =>
        [.. model.state_dict().Values.Select(tensor => tensor.detach().contiguous().bytes.ToArray())];

    private (string Results, IReadOnlyList<EpochMetrics> History) Whole(
        string network, ImageDataset data, int batch, long? shuffle = 1) => Pieces(network, data, batch, [], true, shuffle);

    // Cut after so many steps; each piece in a network and a trainer of its own, or all in one.
    private (string Results, IReadOnlyList<EpochMetrics> History) Pieces(
        string network, ImageDataset data, int batch, IReadOnlyList<int> cuts, bool fresh, long? shuffle = 1)
    {
        System.IO.File.Delete(File);
        var done = 0;
        var (model, trainer) = Made();
        foreach (var cut in cuts)
        {
            using var cancelled = new CancellationTokenSource();
            trainer.Progress = _ =>
            {
                if (++done == cut)
                {
                    cancelled.Cancel();
                }
            };
            trainer.SaveDue = () => trainer.Save(File);
            Assert.Throws<OperationCanceledException>(() => trainer.Run(Loader(data, batch, shuffle), Test, _ => { }, cancelled.Token));
            if (fresh)
            {
                trainer.Dispose();
                model.Dispose();
                (model, trainer) = Made();
                trainer.Resume(File);
            }
        }

        trainer.Progress = null;
        trainer.Run(Loader(data, batch, shuffle), Test, _ => { });
        var results = Results(trainer);
        trainer.Dispose();
        model.Dispose();
        return (results, trainer.History);

        (nn.Module<Tensor, Tensor> Model, Trainer Trainer) Made()
        {
            var made = Network(network);
            // Where a process of its own would not be.
            random.manual_seed(cuts.Count > 0 && System.IO.File.Exists(File) ? 99 : 5);
            return (made, new Trainer(made, Options));
        }
    }

    // A trainer of the first epoch, cancelled after a step, and the file of that.
    private Trainer Interrupted(nn.Module<Tensor, Tensor> model, int step)
    {
        random.manual_seed(5);
        var trainer = new Trainer(model, Options);
        using var cancelled = new CancellationTokenSource();
        trainer.Progress = progress =>
        {
            if (progress.Step == step)
            {
                cancelled.Cancel();
            }
        };
        trainer.SaveDue = () => trainer.Save(File);
        Assert.Throws<OperationCanceledException>(() => trainer.Run(Loader(images, 4), Test, _ => { }, cancelled.Token));
        return trainer;
    }

    private sealed class Damaged(ImageDataset inner, Func<int, bool> skipped)
        : ImageDataset("damaged", [.. inner.Labels], inner.Classes, inner.ClassNames)
    {
        public override ImageBytes? Read(int index) => skipped(index) ? null : inner.Read(index);

        public override ImageDataset Take(int count) => throw new NotSupportedException();
    }
}
