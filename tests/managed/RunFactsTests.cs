using System.Security.Cryptography;
using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>A run that is resumed is the same run: what its next epochs depend on has not changed, or is named.</summary>
public sealed class RunFactsTests : IDisposable
{
    private static readonly TrainingOptions Options = new() { Epochs = 2, LearningRate = 0.05, Schedule = Schedule.Constant };

    private readonly string folder = Directory.CreateTempSubdirectory("facts").FullName;

    private string File => Path.Combine(folder, "c.bin");

    public void Dispose() => Directory.Delete(folder, recursive: true);

    public static TheoryData<string> OptionChanges => [.. ByOption.Keys];

    private static readonly Dictionary<string, Func<TrainingOptions, TrainingOptions>> ByOption = new()
    {
        ["the learning rate was 0.05, here it is 0.1; take 0.05"] = o => o with { LearningRate = 0.1 },
        ["the momentum was 0.9, here it is 0.8; take 0.9"] = o => o with { Optimizer = OptimizerChoice.Sgd(0.8) },
        ["the weight decay was 0.0005, here it is 0; take 0.0005"] = o => o with { WeightDecay = 0 },
        ["the named weight decay was none, here it is 0.1 of norm; take none"] = o => o with { NamedWeightDecay = new("norm", 0.1) },
        ["the stage rate factor was 1, here it is 4; take 1"] = o => o with { StageRateFactor = 4 },
        ["the schedule was constant, here it is cosine; take constant"] = o => o with { Schedule = Schedule.Cosine },
        ["the schedule was constant, here it is warmup:2+constant; take constant"] =
            o => o with { Schedule = Schedule.Constant.WarmUp(2) },
        ["the schedule was constant, here it is mine@step; take constant"] =
            o => o with { Schedule = Schedule.Custom("mine", (_, _) => 1).ByStep() },
        ["the optimizer was sgd, here it is adamw; take sgd"] = o => o with { Optimizer = OptimizerChoice.AdamW() },
        ["the optimizer was sgd, here it is mine; take sgd"] = o => o with
        {
            Optimizer = OptimizerChoice.Custom("mine", groups => new MomentumSgd(groups.SelectMany(g => g.Parameters))),
        },
        ["the loss was cross-entropy, here it is cross-entropy smoothed by 0.1; take cross-entropy"] =
            o => o with { Loss = LossFunction.CrossEntropy(0.1) },
        ["the loss was cross-entropy, here it is mine; take cross-entropy"] =
            o => o with { Loss = LossFunction.Custom("mine", (scores, _) => scores.mean()) },
        ["the largest norm of the gradient was none, here it is 2; take none"] = o => o with { ClipNorm = 2 },
        ["the number of batches of a step was 1, here it is 4; take 1"] = o => o with { Accumulate = 4 },
        ["the decay of the average of weights was none, here it is 0.99; take none"] = o => o with { AverageDecay = 0.99 },
        ["the mixup was none, here it is 0.2 with seed 7; take none"] = o => o with { Mixup = new(0.2, 7) },
        ["the freezing of batch normalizations was off, here it is on; take off"] = o => o with { FreezeNorms = true },
        ["the pattern of modules in evaluation mode was none, here it is stem; take none"] = o => o with { EvaluationModules = "stem" },
        ["the patience was none, here it is 3; take none"] = o => o with { Patience = 3 },
    };

    [Theory]
    [MemberData(nameof(OptionChanges))]
    public void Resume_NamesAChangedOption(string change)
    {
        Begin(new StageOptions());
        Refused(change, ByOption[change](Options), new StageOptions());
    }

    public static TheoryData<string> StageChanges => [.. ByStage.Keys];

    private static readonly Dictionary<string, StageOptions> ByStage = new()
    {
        ["the reconstruction of stage was adaptive, here it is inverse; take adaptive"] = new() { Reconstruction = Reconstruction.Inverse },
        ["the reconstruction of stage was adaptive, here it is adaptive:0.01; take adaptive"] =
            new() { Reconstruction = Reconstruction.Adaptive(0.01) },
        ["the solver of stage was euler, here it is midpoint; take euler"] = new() { Solver = Solver.Midpoint },
        ["the step size of stage was 0.5, here it is 0.25; take 0.5"] = new() { StepSize = 0.25 },
        ["the execution of stage was Layers, here it is Callback; take Layers"] = new() { Execution = StageExecution.Callback },
        ["the compute type of stage was SameAsState, here it is BFloat16; take SameAsState"] = new() { ComputeType = ComputeType.BFloat16 },
    };

    [Theory]
    [MemberData(nameof(StageChanges))]
    public void Resume_NamesAChangedStage(string change)
    {
        Begin(new StageOptions());
        Refused(change, Options, ByStage[change]);
    }

    public static TheoryData<string> DataChanges => [.. ByData.Keys];

    private static readonly Dictionary<string, (BatchLoader Train, BatchLoader Test)> ByData = new()
    {
        ["the data set of the training images was pictures, here it is photos; take pictures"] = (Train(Images(name: "photos")), Test()),
        ["number 2 of the classes of the training images was dog (4 images), here it is cat (4 images); take dog (4 images)"] =
            (Train(Images(["ant", "cat", "dog"])), Test()),
        ["number 3 of the classes of the training images was eel (4 images), here it is eel (3 images); take eel (4 images)"] =
            (Train(Images(labels: [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1])), Test()),
        ["the SHA-256 of the training images was one, here it is other; take the images that it began with"] = (
            Train(Images(digest: "other")),
            Test()),
        ["the batch size of the training images was 4, here it is 6; take 4"] = (new(Images(), Plain, 6, 1), Test()),
        ["the shuffle seed of the training images was 1, here it is 2; take 1"] = (new(Images(), Plain, 4, 2), Test()),
        ["the shuffle seed of the training images was 1, here it is none; take 1"] = (new(Images(), Plain, 4, null), Test()),
        ["number 4 of the augmentation of the training images was CropPadding 0, here it is CropPadding 2; take CropPadding 0"] =
            (new(Images(), Plain with { CropPadding = 2 }, 4, 1), Test()),
        ["number 9 of the augmentation of the training images was Deviation [0.2023,0.1994,0.201], "
            + "here it is Deviation [0.2,0.2,0.2]; take Deviation"] =
            (new(Images(), Plain with { Deviation = [0.2, 0.2, 0.2] }, 4, 1), Test()),
        ["the SHA-256 of the test images was one, here it is other; take the images that it began with"] = (
            Train(Images()),
            new(Images(digest: "other"), Plain, 12, null)),
        ["the data set of the validation images was none, here it is pictures; take none"] = (Train(Images()), Test()),
        ["the batch size of the test images was 12, here it is 3; take 12"] = (Train(Images()), new(Images(), Plain, 3, null)),
    };

    private static Augmentation Plain => new Augmentation().WithoutRandomness();

    [Theory]
    [MemberData(nameof(DataChanges))]
    public void Run_NamesChangedImages(string change)
    {
        Begin(new StageOptions());
        using var model = Model(new StageOptions());
        using var trainer = new Trainer(model, Options with { Epochs = 3 });
        trainer.Resume(File);
        var before = Bits(model);
        var (train, test) = ByData[change];
        var validation = change.Contains("validation", StringComparison.Ordinal) ? Test() : null;
        var error = Assert.Throws<ResNetNodesException>(() => trainer.Run(train, test, _ => { }, validation: validation));
        Assert.StartsWith($"{File}: belongs to another run: {change}", error.Message);
        Assert.EndsWith(", or start a new run", error.Message);
        Assert.Equal(before, Bits(model));
        // With the right ones it goes on, and the next file knows them too.
        trainer.Save(File);
        trainer.Run(Train(Images()), Test(), _ => trainer.Save(File));
        using var next = new Trainer(model, Options with { Epochs = 3 });
        next.Resume(File);
        Assert.Equal(3, next.History.Count);
        Assert.Equal(
            error.Message,
            Assert.Throws<ResNetNodesException>(() => next.Run(train, test, _ => { }, validation: validation)).Message);
    }

    /// <summary>A run may be made longer exactly where its finished epochs would have been the same.</summary>
    [Theory]
    [InlineData("constant", 2, 2, 5, null)]
    [InlineData("steps:1+3", 2, 2, 5, null)]
    [InlineData("every:2*0.5", 2, 2, 5, null)]
    [InlineData("constant", 4, 2, 3, null)]
    [InlineData("cosine", 4, 0, 2, null)]
    [InlineData("cosine", 4, 1, 8, null)] // at the start of any length: 1
    [InlineData("cosine", 2, 2, 2, null)]
    [InlineData("thirds", 3, 1, 6, null)]
    [InlineData("warmup:2+constant@step", 2, 2, 5, null)]
    [InlineData(
        "cosine@step", 4, 1, 8, // within the first epoch already
        "its 1 finished epoch followed cosine@step over 4 epochs, "
        + "over 8 they would have had other learning rates; take 4 epochs, or start a new run")]
    [InlineData(
        "thirds", 3, 2, 6,
        "its 2 finished epochs followed thirds over 3 epochs, "
        + "over 6 they would have had other learning rates; take 3 epochs, or start a new run")]
    [InlineData(
        "cosine", 2, 2, 4,
        "its 2 finished epochs followed cosine over 2 epochs, "
        + "over 4 they would have had other learning rates; take 2 epochs, or start a new run")]
    [InlineData(
        "cosine", 4, 2, 3,
        "its 2 finished epochs followed cosine over 4 epochs, "
        + "over 3 they would have had other learning rates; take 4 epochs, or start a new run")]
    [InlineData("constant", 4, 3, 2, "has 3 finished epochs, more than 2; take 3 epochs or more, or start a new run")]
    public void Resume_AllowsAnotherLengthWhereTheFinishedEpochsAreTheSame(
        string schedule,
        int epochs, int finished, int wanted, string? refusal)
    {
        var options = Options with { Schedule = Schedule.Parse(schedule), Epochs = epochs };
        using var model = Model(new StageOptions());
        using (var trainer = new Trainer(model, options))
        {
            using var stop = new CancellationTokenSource();
            try
            {
                trainer.Save(File);
                trainer.Run(Train(Images()), Test(), m =>
                {
                    trainer.Save(File);
                    if (m.Epoch == finished)
                    {
                        stop.Cancel();
                    }
                }, finished == 0 ? new(canceled: true) : stop.Token);
            }
            catch (OperationCanceledException)
            {
                // At the last epoch but its end.
            }
        }

        using var resumed = new Trainer(model, options with { Epochs = wanted });
        if (refusal is null)
        {
            resumed.Resume(File);
            Assert.Equal(finished, resumed.History.Count);
        }
        else
        {
            Assert.StartsWith($"{File}: {refusal}", Assert.Throws<ResNetNodesException>(() => resumed.Resume(File)).Message);
            Assert.Empty(resumed.History);
        }
    }

    /// <summary>The learning rate of an epoch that was begun counts as those of finished ones do.</summary>
    [Theory]
    [InlineData("constant", 2, 5, null)]
    [InlineData("steps:1+3", 3, 2, null)]
    [InlineData("cosine", 4, 4, null)]
    [InlineData("thirds", 6, 3, "its 2 epochs, the last one begun, followed thirds over 6 epochs, over 3 they would have had other "
        + "learning rates; take 6 epochs, or start a new run")]
    [InlineData("cosine", 2, 4, "its 2 epochs, the last one begun, followed cosine over 2 epochs, over 4 they would have had other "
        + "learning rates; take 2 epochs, or start a new run")]
    [InlineData("constant", 3, 1, "is in the middle of epoch 2, beyond 1; take 2 epochs or more, or start a new run")]
    public void Resume_InTheMiddleOfAnEpochAllowsAnotherLengthWhereItIsTheSame(string schedule, int epochs, int wanted, string? refusal)
    {
        var options = Options with { Schedule = Schedule.Parse(schedule), Epochs = epochs };
        using var model = Model(new StageOptions());
        using (var trainer = new Trainer(model, options))
        {
            using var stop = new CancellationTokenSource();
            trainer.SaveDue = () => trainer.Save(File);
            trainer.Progress = step =>
            {
                if (step is { Epoch: 2, Step: 1 })
                {
                    stop.Cancel();
                }
            };
            Assert.Throws<OperationCanceledException>(() => trainer.Run(Train(Images()), Test(), _ => { }, stop.Token));
        }

        using var resumed = new Trainer(model, options with { Epochs = wanted });
        if (refusal is null)
        {
            resumed.Resume(File);
            Assert.Equal((1, 1), (resumed.History.Count, resumed.StepsOfEpoch));
        }
        else
        {
            Assert.StartsWith($"{File}: {refusal}", Assert.Throws<ResNetNodesException>(() => resumed.Resume(File)).Message);
            Assert.Equal((0, 0), (resumed.History.Count, resumed.StepsOfEpoch));
        }
    }

    /// <summary>A file of the right digest whose facts and position contradict one another.</summary>
    [Fact]
    public void Run_RefusesAnotherNumberOfBatches()
    {
        using var model = Model(new StageOptions());
        using (var trainer = new Trainer(model, Options))
        {
            trainer.Progress = step => trainer.Save(Path.Combine(folder, $"{step.Epoch}-{step.Step}.bin"));
            trainer.Run(Train(Images()), Test(), _ => { });
        }

        var path = Path.Combine(folder, "1-2.bin");
        var bytes = System.IO.File.ReadAllBytes(path);
        bytes[bytes.AsSpan().IndexOf("\"BatchCount\":3,"u8) + 13] = (byte)'9';
        SHA256.HashData(bytes.AsSpan(..^SHA256.HashSizeInBytes)).CopyTo(bytes, bytes.Length - SHA256.HashSizeInBytes);
        System.IO.File.WriteAllBytes(path, bytes);
        using var resumed = new Trainer(model, Options);
        resumed.Resume(path);
        Assert.Equal(
            $"{path}: its epoch 1 was begun with 9 batches, here are 3; take the images that it began with, or start a new run",
            Assert.Throws<ResNetNodesException>(() => resumed.Run(Train(Images()), Test(), _ => { })).Message);
    }

    /// <summary>A long value is shown where it differs.</summary>
    [Fact]
    public void Change_ShortensLongValues()
    {
        var same = new string('a', 300);
        var change = new Fact("digest", [$"{same}1{same}"]).Change(new("digest", [$"{same}2{same}"]));
        var cut = new string('a', 20);
        Assert.Equal(
            $"the digest was …{cut}1{new string('a', 39)}…, here it is …{cut}2{new string('a', 39)}…; "
            + $"take …{cut}1{new string('a', 39)}…",
            change);
        Assert.Equal(
            "number 3 of the classes was none, here it is c; take none",
            new Fact("classes", ["a", "b"]).Change(new("classes", ["a", "b", "c"])));
        Assert.Null(new Fact("classes", ["a", "b"]).Change(new("classes", ["a", "b"])));
    }

    /// <summary>A file that no trainer has written knows no run; one of a network alone is none.</summary>
    [Fact]
    public void Resume_TakesAFileWithoutFacts()
    {
        using var model = Model(new StageOptions());
        using var trainer = new Trainer(model, Options);
        Checkpoint.Save(File, model, null, []);
        Assert.Contains(
            "it holds a network alone, and no optimizer",
            Assert.Throws<ResNetNodesException>(() => trainer.Resume(File)).Message);
    }

    private static BatchLoader Train(ImageDataset data) => new(data, Plain, 4, 1);

    private static BatchLoader Test() => new(Images(), Plain, 12, null);

    private static Known Images(string[]? names = null, int[]? labels = null, string digest = "one", string name = "pictures") =>
        new(name, labels ?? [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], names ?? ["ant", "dog", "eel"], digest);

    private static TinyResNet Model(StageOptions stage) =>
        new(new TinyResNetOptions { Depth = 2, Planes = 4, Classes = 3, Seed = 1, Stage = stage });

    private static List<float> Bits(nn.Module model) =>
        [.. model.state_dict().Values.SelectMany(t => t.to(ScalarType.Float32).data<float>())];

    private void Begin(StageOptions stage)
    {
        using var model = Model(stage);
        using var trainer = new Trainer(model, Options);
        trainer.Run(Train(Images()), Test(), _ => trainer.Save(File));
    }

    private void Refused(string change, TrainingOptions options, StageOptions stage)
    {
        using var model = Model(stage);
        using var trainer = new Trainer(model, options);
        var before = Bits(model);
        var error = Assert.Throws<ResNetNodesException>(() => trainer.Resume(File));
        Assert.Equal($"{File}: belongs to another run: {change}, or start a new run", error.Message);
        Assert.Equal(before, Bits(model));
        Assert.Empty(trainer.History);
    }

    private sealed class Known(string name, int[] labels, string[] names, string digest) : ImageDataset(name, labels, names.Length, names)
    {
        public override string? Digest => digest;

        public override ImageBytes? Read(int index) => new(new byte[3 * 8 * 8], 3, 8, 8);

        public override ImageDataset Take(int count) => this;
    }
}
