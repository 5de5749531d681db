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

/// <summary>Test accuracy of the tied network, of the untied one, and after each epoch of refinement, for a seed.</summary>
internal sealed record FinetuneRow(
    string Network,
    int Seed,
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
    "resnet-nodes finetune --preset paper --checkpoint runs/tied/auto_32-inverse-1/checkpoint.bin",
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
    "planes=4", "size=custom:2+2+10+2", "limit=6000", "pretrain-epochs=3", "epochs=2", "schedule=constant", "batch=32", "zero-init=true",
    "seeds=1,2,3,4,5", "jobs=2")]
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

    public RateGroup Rate { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public SavingGroup Saving { get; } = new();

    public TrainerGroup Trainer { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public SeedsGroup Seeds { get; } = new();

    public JobsGroup Jobs { get; } = new();

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

    /// <summary>What is done for each seed.</summary>
    private sealed record Work(
        ResNetOptions Deep,
        int? RefinedStage,
        TrainingOptions Pretraining,
        TrainingOptions Options,
        Func<int, (Data.BatchLoader Train, Data.BatchLoader? Validation)> Train,
        Func<int, Data.BatchLoader> Test,
        string? Checkpoint);

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
        var seeds = Seeds.Numbers;
        var options = Trainer.On(Saving.On(Schedule.On(Rate.On(Optimization.On(Device.Value)))), seeds[0]) with
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
            // A new network's statistics are none yet.
            FreezeNorms = false,
        };
        if (refinedStage is { } stageNumber && size.Blocks[stageNumber - 1] < 2)
        {
            throw new UsageException($"--train-stage is {TrainStage}, but {size} has no residual functions there");
        }

        var (_, images, _) = Images.SplitBatches(Batch.Number, Trainer.Share, seeds[0], terminal, cancellation);
        var deep = Network.Staged("ode", size, planes, adjointFrom, stage, images.Classes, Memory.Bytes);
        var load = Workload.Of(options, Batch.Number, images, Images.Pixels);
        // Where one stage is refined, the others have no gradients and store nothing; memory is measured with whole batches.
        NetworkGroup.Check("size", refinedStage is null ? deep : deep with { Stage = new() }, load with
        {
            Images = Batch.Number,
            Copies = refinedStage is null ? load.Copies : 1,
        });
        using (var tied = NetworkGroup.Build(deep with { Kind = ResNetKind.Tied }, seeds[0]))
        {
            if (checkpoint is not null)
            {
                CheckpointGroup.Load(checkpoint, tied);
            }
            else
            {
                Memory.Plan("tied", tied, load);
            }
        }

        if (Memory.Bytes is not null)
        {
            using var planned = BuildUntied(deep, refinedStage, seeds[0]);
            Memory.Plan("untied", planned, load);
        }

        var folder = RunFolder.Open(this);
        Memory.Show(terminal);
        var work = new Work(
            deep, refinedStage, pretraining, options,
            seed =>
            {
                var (train, _, validation) = Images.SplitBatches(Batch.Number, Trainer.Share, seed, terminal, cancellation);
                return (train, validation);
            },
            seed => Images.TestBatches(ImagesGroup.TestBatch, seed, terminal, cancellation).Loader, checkpoint);
        List<FinetuneRow> rows =
        [
            .. (Jobs.Number > 1 && seeds.Count > 1
                ? InProcesses(folder, seeds, terminal, cancellation)
                : seeds.Select(seed => Refine(folder, seed, work, terminal, cancellation))).SelectMany(own => own),
        ];
        rows.ForEach(terminal.Row);
        var memory = new[] { method, ResNetNodes.Reconstruction.Backprop }.Distinct()
            .Select(m => folder.Point($"memory-{m}", () => MeasureMemory(m, planes, images, cancellation))).ToList();
        memory.ForEach(terminal.Row);
        folder.WriteCsv("finetune.csv", rows);
        folder.WriteCsv("memory.csv", memory);
        terminal.Table(rows);
        terminal.Table(memory);
        var statements = new FinetuneStatements(rows, memory, method, images.Classes);
        terminal.Say("figure: " + Draw(folder, statements));
        folder.Finish(
            terminal, $"Tied {size}, untied and refined with {method}, on {images.Name}, {seeds.Count} seeds", statements.Findings);
    }

    private IReadOnlyList<List<FinetuneRow>> InProcesses(
        RunFolder folder,
        IReadOnlyList<int> seeds,
        Terminal terminal,
        CancellationToken cancellation) => new Children(folder, this, Jobs).Run(
        [.. seeds.Select(seed => new Child($"seed-{seed}", typeof(Finetune), ("seeds", $"{seed}"), ("jobs", "1"), ("json", "true")))],
        (_, run) => Rows.Parse<FinetuneRow>(run()),
        (i, own) => terminal.Say($"seed {seeds[i]}: test accuracy {own[0].TestAccuracy:0.0 %} tied, {own[^1].TestAccuracy:0.0 %} refined"),
        terminal,
        cancellation);

    private List<FinetuneRow> Refine(RunFolder folder, int seed, Work work, Terminal terminal, CancellationToken cancellation)
    {
        var ((train, validation), test) = (work.Train(seed), work.Test(seed));
        TrainingOptions Seeded(TrainingOptions options) => options with { Mixup = options.Mixup is { } m ? m with { Seed = seed } : null };
        using var tied = NetworkGroup.Build(work.Deep with { Kind = ResNetKind.Tied }, seed);
        if (work.Checkpoint is { } file)
        {
            CheckpointGroup.Load(file, tied);
        }
        else
        {
            new TrainingRun(folder.Part($"tied-{seed}"), terminal, $"tied network, seed {seed}")
                .Go(tied, Seeded(work.Pretraining), train, test, validation, null, cancellation);
        }

        using var untied = BuildUntied(work.Deep, work.RefinedStage, seed);
        DepthTransfer.Copy(tied, untied);
        List<FinetuneRow> rows =
        [
            folder.Point($"tied-accuracy-{seed}", () => Test("tied", seed, tied, work.Options, test)),
            folder.Point($"untied-accuracy-{seed}", () => Test("untied", seed, untied, work.Options, test)),
        ];
        var refinement = new TrainingRun(folder.Part($"refined-{seed}"), terminal, $"refinement, seed {seed}");
        rows.AddRange(refinement.Go(untied, Seeded(work.Options), train, test, validation, null, cancellation)
            .Select(m => new FinetuneRow("refined", seed, m.Epoch, m.TestLoss, m.TestAccuracy, m.ReconstructionError, m.Seconds)));
        return rows;
    }

    // Quartiles over the seeds, as points beside what each of them started from.
    private static string Draw(RunFolder folder, FinetuneStatements statements)
    {
        List<double> epochs = [.. Enumerable.Range(0, statements.Epochs + 1).Select(e => (double)e)];
        return PaperFigure.Save(folder, "finetune", statements.Title, new Panel("Epoch of refinement", "Test accuracy (%)",
        [
            Series.OfQuartiles("untied and refined", epochs, statements.Refined, PaperFigure.Red),
            Series.OfQuartiles("tied", epochs, _ => statements.Accuracies("tied"), PaperFigure.DarkBlue) with
            {
                Stroke = Stroke.Dashed,
                Marker = Marker.None,
            },
        ]));
    }

    private static ResNet BuildUntied(ResNetOptions options, int? refinedStage, int seed)
    {
        var untied = NetworkGroup.Build(options, seed);
        if (refinedStage is { } number)
        {
            Freeze(untied, number);
        }

        return untied;
    }

    private static FinetuneRow Test(
        string name, int seed, nn.Module<Tensor, Tensor> model, TrainingOptions options, Data.BatchLoader test)
    {
        using var trainer = new Trainer(model, options);
        var (loss, accuracy) = trainer.Test(test);
        return new(name, seed, 0, loss, accuracy, null, null);
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
}
