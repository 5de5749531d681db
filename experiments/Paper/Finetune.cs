using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>Test accuracy of the tied network, of the untied one, and after each epoch of refinement.</summary>
internal sealed record FinetuneRow(
    string Network,
    int Epoch,
    double TestLoss,
    double TestAccuracy,
    double? ReconstructionError,
    double? Seconds);

/// <summary>Memory of a refinement step with one method.</summary>
internal sealed record FinetuneMemoryRow(string Reconstruction, long PeakBytes, long StepBytes);

/// <summary>Tied weights, untied and refined.</summary>
[Verb("finetune", HelpText = "Untie a tied network into a deep one, and refine it with the adjoint.")]
[Page(
    "Table 2 of arXiv 2205.14612. Takes a tied network of --checkpoint (written by tied, with the same --size and "
    + "--planes), or trains one first.",
    "resnet-nodes finetune --preset small                                            (minutes on 2 cores)",
    "resnet-nodes finetune --preset paper --checkpoint runs/tied/auto_32-inverse/checkpoint.bin",
    "resnet-nodes finetune --preset paper-imagenet --data ILSVRC")]
[PaperRow("table 2", order: 8)]
[JsonRows(typeof(FinetuneRow), typeof(FinetuneMemoryRow), typeof(PlanRow), typeof(PlanPartRow))]
[Defaults("network=tied", "size=custom:2+2+10+2", "lr=1e-3", "epochs=50", "schedule=steps:40")]
[Meaning("epochs", "Epochs of refinement.")]
[Meaning("schedule", "Learning rate over the refinement.")]
[Meaning("reconstruction", "Method of training and of the refinement: {methods}.")]
[Meaning("checkpoint", "A trained tied network, instead of training one first.")]
[Preset(
    "smoke",
    "dataset=synthetic", "limit=100", "planes=2", "size=custom-basic:2+2+4+2", "pretrain-epochs=1", "epochs=1", "batch=50")]
[Preset(
    "small",
    "planes=4", "size=custom:2+2+10+2", "limit=6000", "pretrain-epochs=3", "epochs=2", "schedule=constant", "batch=32", "zero-init=true")]
[Preset(
    "paper",
    "dataset=cifar10", "size=auto:32", "pretrain-epochs=200", "epochs=50", "schedule=steps:40", "reconstruction=inverse")]
[Preset(
    "paper-imagenet",
    "dataset=imagenet", "size=auto:64", "train-stage=all", "batch=256", "lr=5e-4", "weight-decay=1e-4", "pretrain-epochs=102",
    "epochs=16", "schedule=every:5*0.33", "reconstruction=inverse")]
internal sealed class Finetune : Experiment
{
    [Option("pretrain-epochs", Default = "200", MetaValue = "N", HelpText = "Epochs of the tied network.")]
    [Section("training")]
    public string PretrainEpochs { get => Given(); set => Set(value); }

    [Option("pretrain-lr", Default = "0.1", MetaValue = "RATE", HelpText =
        "Initial learning rate of the tied network; cosine over its epochs.")]
    [Section("training")]
    public string PretrainRate { get => Given(); set => Set(value); }

    [Option("train-stage", Default = "3", MetaValue = "1|2|3|4|all", HelpText =
        "The stage that is refined; all: every parameter.")]
    [Section("training")]
    public string TrainStage { get => Given(); set => Set(value); }

    [Option("last-norm-decay", MetaValue = "D", HelpText =
        "Weight decay of the last batch normalization of stage 3's functions (the paper's memory experiment: 1e-2).")]
    [Section("training")]
    public string? LastNormDecay { get => Optional(); set => Set(value); }

    public NetworkGroup Network { get; } = new("tied");

    public SizeGroup Size { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public ReconstructionGroup Reconstruction { get; } = new();

    public AdjointFromGroup AdjointFrom { get; } = new();

    public MemoryGroup Memory { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public CheckpointGroup Checkpoint { get; } = new();

    public ScheduleGroup Schedule { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    /// <summary>The stage that --train-stage names, from 1; null: all.</summary>
    public static int? StageOf(string text) =>
        Read.OneOf("train-stage", text, "1", "2", "3", "4", "all") == "all" ? null : text[0] - '0';

    /// <summary>Leaves one stage's parameters alone trainable.</summary>
    /// <param name="model">A network of four stages.</param>
    /// <param name="number">From 1.</param>
    public static void Freeze(nn.Module model, int number)
    {
        foreach (var (name, parameter) in model.named_parameters())
        {
            parameter.requires_grad = name.StartsWith($"stage{number}.", StringComparison.Ordinal);
        }
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var network = Network.Name;
        var refinedStage = StageOf(TrainStage);
        var (size, method) = (Size.Value, Reconstruction.Value);
        var (planes, adjointFrom) = (Planes.Of(network), AdjointFrom.Number);
        var stage = Execution.On(new StageOptions
        {
            Reconstruction = method,
            ReportReconstructionError = true,
        });
        var options = Schedule.On(Optimization.On(Device.Value)) with
        {
            NamedWeightDecay = LastNormDecay is { } decay ? new(LastNormPattern(size), Read.Number("last-norm-decay", decay)) : null,
        };
        var checkpoint = Checkpoint.Path;
        if (checkpoint is not null)
        {
            Unused("pretrain-epochs", "--checkpoint takes the place of that training");
            Unused("pretrain-lr", "--checkpoint takes the place of that training");
        }

        var pretraining = options with
        {
            Epochs = Read.Whole("pretrain-epochs", PretrainEpochs),
            LearningRate = Read.Number("pretrain-lr", PretrainRate),
            Schedule = Training.Schedule.Cosine,
            NamedWeightDecay = null,
        };
        if (refinedStage is { } stageNumber && size.Blocks[stageNumber - 1] < 2)
        {
            throw new UsageException($"--train-stage is {TrainStage}, but {size} has no residual functions there");
        }

        var (train, images) = Images.TrainBatches(Batch.Number, Seed.Number, terminal, cancellation);
        var (test, _) = Images.TestBatches(ImagesGroup.TestBatch, Seed.Number, terminal, cancellation);
        var deep = Network.Staged("ode", size, planes, adjointFrom, stage, images.Classes, Memory.Bytes);
        var load = Workload.Of(options, Batch.Number, images, Images.Pixels);
        // Where one stage is refined, the others have no gradients and store nothing; memory is measured with whole batches.
        NetworkGroup.Check("size", refinedStage is null ? deep : deep with { Stage = new() }, load with
        {
            Images = Batch.Number,
            Copies = refinedStage is null ? load.Copies : 1,
        });
        using var tied = NetworkGroup.Build(deep with { Kind = ResNetKind.Tied }, Seed.Number);
        if (checkpoint is not null)
        {
            Training.Checkpoint.Load(checkpoint, tied, null);
        }
        else
        {
            Memory.Plan("tied", tied, load);
        }

        if (Memory.Bytes is not null)
        {
            using var planned = BuildUntied(deep, refinedStage);
            Memory.Plan("untied", planned, load);
        }

        var folder = RunFolder.Open(this);
        Memory.Show(terminal);
        if (checkpoint is null)
        {
            var run = new TrainingRun(folder.Part("tied"), terminal, $"tied {size}");
            run.Go(tied, pretraining, train, test, null, cancellation);
        }

        using var untied = BuildUntied(deep, refinedStage);
        DepthTransfer.Copy(tied, untied);
        List<FinetuneRow> rows =
        [
            folder.Point("tied-accuracy", () => Test("tied", tied, options, test)),
            folder.Point("untied-accuracy", () => Test("untied", untied, options, test)),
        ];
        rows.ForEach(terminal.Row);
        var refinement = new TrainingRun(folder.Part("refined"), terminal, $"refinement with {method}");
        var refined = refinement.Go(untied, options, train, test, null, cancellation)
            .Select(m => new FinetuneRow("refined", m.Epoch, m.TestLoss, m.TestAccuracy, m.ReconstructionError, m.Seconds)).ToList();
        refined.ForEach(terminal.Row);
        rows.AddRange(refined);
        var memory = new[] { method, ResNetNodes.Reconstruction.Backprop }.Distinct()
            .Select(m => folder.Point($"memory-{m}", () => MeasureMemory(m, planes, images, cancellation))).ToList();
        memory.ForEach(terminal.Row);
        folder.WriteCsv("finetune.csv", rows);
        folder.WriteCsv("memory.csv", memory);
        terminal.Table(rows);
        terminal.Table(memory);
        var (before, after) = (100 * rows[0].TestAccuracy, 100 * rows[1].TestAccuracy);
        var title = $"Tied {size}, untied and refined with {method}, on {images.Name}";
        terminal.Say("figure: " + PaperFigure.Save(folder, "finetune", title, "Epoch of refinement", "Test accuracy (%)",
        [
            new Series(
                "untied and refined", [0, .. refined.Select(r => (double)r.Epoch)], [after, .. refined.Select(r => 100 * r.TestAccuracy)],
                PaperFigure.Red),
            new Series("tied", [0, refined.Count], [before, before], PaperFigure.DarkBlue) { Marker = Marker.None },
        ]));
        folder.Finish(terminal, $"Untying and refinement on {images.Name}", Judge(rows, memory, images.Classes));
    }

    private ResNet BuildUntied(ResNetOptions options, int? refinedStage)
    {
        var untied = NetworkGroup.Build(options, Seed.Number);
        if (refinedStage is { } number)
        {
            Freeze(untied, number);
        }

        return untied;
    }

    private static FinetuneRow Test(string name, nn.Module<Tensor, Tensor> model, TrainingOptions options, Data.BatchLoader test)
    {
        using var trainer = new Trainer(model, options);
        var (loss, accuracy) = trainer.Test(test);
        return new(name, 0, loss, accuracy, null, null);
    }

    private static string LastNormPattern(NetworkSize size) => $@"^stage3\.functions\.\d+\.norm{(size.Bottleneck ? 3 : 2)}\.";

    private FinetuneMemoryRow MeasureMemory(
        Reconstruction method, int planes, Data.ImageDataset images, CancellationToken cancellation)
    {
        var words = WordsFor(
            typeof(MemoryPoint), ("network", "ode"), ("planes", $"{planes}"), ("classes", $"{images.Classes}"),
            ("image", $"{Images.Pixels}"),
            // What stores everything is what a budget is compared with.
            ("reconstruction", method.ToString()), ("memory", method.IsMemoryFree ? Memory.Text : null), ("train-stage", TrainStage));
        var measured = MemoryProcess.Measure($"refinement with {method}", words, cancellation);
        var name = measured.Plan is null ? $"{method}" : $"{method} within {Memory.Text}";
        return new(name, measured.PeakBytes, measured.StepBytes);
    }

    private static Finding[] Judge(List<FinetuneRow> rows, List<FinetuneMemoryRow> memory, int classes)
    {
        var (tied, untied, refined) = (rows[0].TestAccuracy, rows[1].TestAccuracy, rows[^1].TestAccuracy);
        return
        [
            new(
                "Untying changes nothing at first", $"test accuracy {tied:0.00 %} tied, {untied:0.00 %} untied",
                Math.Abs(tied - untied) < 1e-3),
            new(
                "Refinement of the untied network with the adjoint does not lose accuracy", $"from {untied:0.00 %} to {refined:0.00 %}",
                tied < 2.0 / classes ? null : refined >= untied - 0.005),
            .. memory.Count < 2 ? Array.Empty<Finding>() : [OfMemory(memory)],
        ];
    }

    private static Finding OfMemory(List<FinetuneMemoryRow> memory)
    {
        var (own, backprop) = (memory[0].StepBytes, memory[1].StepBytes);
        const double mebibyte = 1 << 20;
        return new(
            "The adjoint refines in less memory",
            $"a step adds {own / mebibyte:0.0} MiB with {memory[0].Reconstruction}, {backprop / mebibyte:0.0} MiB with backprop",
            own < backprop);
    }
}
