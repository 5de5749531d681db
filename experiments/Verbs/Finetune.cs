using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Test accuracy of the tied network, of the untied one, and after each epoch of refinement.</summary>
internal sealed record FinetuneRow(string Network, int Epoch, double TestLoss, double TestAccuracy, double? ReconstructionError, double? Seconds);

/// <summary>Memory of a refinement step with one method.</summary>
internal sealed record FinetuneMemoryRow(string Reconstruction, long PeakBytes, long StepBytes);

/// <summary>Tied weights, untied and refined.</summary>
[Verb("finetune", HelpText = "Untie a tied network into a deep one, and refine it with the adjoint.")]
[Page(
    "Table 2 of arXiv 2205.14612. Takes a tied network of --checkpoint (written by tied, with the same --size and --planes), or trains one first.",
    "resnet-nodes finetune --preset small                                            (4 minutes on 2 cores)",
    "resnet-nodes finetune --preset paper --checkpoint runs/tied/auto_32-inverse/checkpoint.bin",
    "resnet-nodes finetune --preset paper-imagenet --data ILSVRC")]
[JsonRows(typeof(FinetuneRow), typeof(FinetuneMemoryRow))]
[Defaults("network=tied", "size=custom:2+2+10+2", "lr=1e-3")]
[Preset("smoke", "dataset=synthetic", "limit=100", "planes=2", "size=custom-basic:2+2+4+2", "pretrain-epochs=1", "epochs=1", "batch=50")]
[Preset("small", "planes=4", "size=custom:2+2+10+2", "limit=6000", "pretrain-epochs=3", "epochs=2", "schedule=constant", "batch=32", "zero-init=true")]
[Preset("paper", "dataset=cifar10", "size=auto:32", "pretrain-epochs=200", "epochs=50", "schedule=steps:40", "reconstruction=inverse")]
[Preset("paper-imagenet", "dataset=imagenet", "size=auto:64", "train-stage=all", "batch=256", "lr=5e-4", "weight-decay=1e-4", "pretrain-epochs=102", "epochs=16", "schedule=every:5*0.33", "reconstruction=inverse")]
internal sealed class Finetune : ModelOptions
{
    [Option('r', "reconstruction", Default = "adaptive", MetaValue = "METHOD", HelpText = "Method of the refinement.")]
    [Section("method")]
    public string Method { get; set; } = "adaptive";

    [Option("checkpoint", MetaValue = "FILE", HelpText = "A trained tied network, in place of training one first.")]
    [Section("training")]
    public string? CheckpointFile { get; set; }

    [Option("pretrain-epochs", Default = "200", MetaValue = "N", HelpText = "Epochs of the tied network.")]
    [Section("training")]
    public string PretrainEpochs { get; set; } = "200";

    [Option("pretrain-lr", Default = "0.1", MetaValue = "RATE", HelpText = "First learning rate of the tied network; cosine over its epochs.")]
    [Section("training")]
    public string PretrainRate { get; set; } = "0.1";

    [Option("train-stage", Default = "3", MetaValue = "1|2|3|4|all", HelpText = "The stage that is refined; all: every parameter.")]
    [Section("training")]
    public string TrainStage { get; set; } = "3";

    [Option('e', "epochs", Default = "50", MetaValue = "N", HelpText = "Epochs of refinement.")]
    [Section("training")]
    public string Epochs { get; set; } = "50";

    [Option("schedule", Default = "steps:40", MetaValue = "constant|cosine|thirds|steps:A+B|every:N*F", HelpText = "Learning rate over the refinement.")]
    [Section("training")]
    public string ScheduleName { get; set; } = "steps:40";

    [Option("last-norm-decay", MetaValue = "D", HelpText = "Weight decay of the last batch normalization of stage 3's functions (the paper's memory experiment: 1e-2).")]
    [Section("training")]
    public string? LastNormDecay { get; set; }

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
        Read.OneOf("network", Network, "tied");
        var refinedStage = Read.OneOf("train-stage", TrainStage, "1", "2", "3", "4", "all") == "all" ? (int?)null : Read.Whole("train-stage", TrainStage, 1);
        var size = SizeOf(Size);
        var method = Read.One("reconstruction", Method);
        var stage = new StageOptions { Reconstruction = method, ReportReconstructionError = true };
        var options = Optimization() with
        {
            Epochs = Read.Whole("epochs", Epochs, 1),
            NamedWeightDecay = LastNormDecay is null ? null : new(LastNormPattern(size), Read.Number("last-norm-decay", LastNormDecay, 0)),
            Schedule = Read.Checked("schedule", ScheduleName, Schedule.Parse),
        };
        var pretraining = options with
        {
            Epochs = Read.Whole("pretrain-epochs", PretrainEpochs, 1),
            LearningRate = Read.Number("pretrain-lr", PretrainRate, 0, aboveLeast: true),
            Schedule = Schedule.Cosine,
            NamedWeightDecay = null,
        };
        if (refinedStage is { } stageNumber && size.Blocks[stageNumber - 1] < 2)
        {
            throw new UsageException($"--train-stage is {TrainStage}, but {size} has no residual functions there");
        }

        var (train, images) = Batches(true, terminal, cancellation);
        var (test, _) = Batches(false, terminal, cancellation, TestBatch);
        var folder = RunFolder.Open(this);
        using var tied = Build("tied", 1, size, stage, images.Classes);
        if (CheckpointFile is not null)
        {
            Checkpoint.Load(CheckpointFile, tied, null);
        }
        else
        {
            new TrainingRun(folder.Part("tied"), terminal, $"tied {size}").Go(tied, pretraining, train, test, null, cancellation);
        }

        using var untied = Build("ode", 1, size, stage, images.Classes);
        DepthTransfer.Copy(tied, untied);
        if (refinedStage is { } number)
        {
            Freeze(untied, number);
        }

        List<FinetuneRow> rows =
        [
            folder.Point("tied-accuracy", () => Test("tied", tied, options, test)),
            folder.Point("untied-accuracy", () => Test("untied", untied, options, test)),
        ];
        rows.ForEach(terminal.Row);
        var refined = new TrainingRun(folder.Part("refined"), terminal, $"refinement with {method}").Go(untied, options, train, test, null, cancellation)
            .Select(m => new FinetuneRow("refined", m.Epoch, m.TestLoss, m.TestAccuracy, m.ReconstructionError, m.Seconds)).ToList();
        refined.ForEach(terminal.Row);
        rows.AddRange(refined);
        var memory = new[] { method, Reconstruction.Backprop }.Distinct().Select(m => folder.Point($"memory-{m}", () => MeasureMemory(m, size, images))).ToList();
        memory.ForEach(terminal.Row);
        folder.WriteCsv("finetune.csv", rows);
        folder.WriteCsv("memory.csv", memory);
        terminal.Table(rows);
        terminal.Table(memory);
        terminal.Say("figure: " + PaperFigure.Save(folder, "finetune", $"Tied {size}, untied and refined with {method}, on {images.Name}", "Epoch of refinement", "Test accuracy (%)",
        [
            new Series("untied and refined", [0, .. refined.Select(r => (double)r.Epoch)], [100 * rows[1].TestAccuracy, .. refined.Select(r => 100 * r.TestAccuracy)], PaperFigure.Red),
            new Series("tied", [0, refined.Count], [100 * rows[0].TestAccuracy, 100 * rows[0].TestAccuracy], PaperFigure.DarkBlue, Markers: false),
        ]));
        folder.Finish(terminal, $"Untying and refinement on {images.Name}", "table 2", Judge(rows, memory, method, images.Classes));
    }

    private static FinetuneRow Test(string name, nn.Module<Tensor, Tensor> model, TrainingOptions options, Data.BatchLoader test)
    {
        using var trainer = new Trainer(model, options);
        var (loss, accuracy) = trainer.Test(test);
        return new(name, 0, loss, accuracy, null, null);
    }

    private static string LastNormPattern(NetworkSize size) => $@"^stage3\.functions\.\d+\.norm{(size.Bottleneck ? 3 : 2)}\.";

    private FinetuneMemoryRow MeasureMemory(Reconstruction method, NetworkSize size, Data.ImageDataset images)
    {
        List<string> words =
        [
            "memory-point", "--network", "ode", "--size", $"{size}", "--planes", $"{PlanesOf(Network)}", "--classes", $"{images.Classes}", "--batch", Batch,
            "--reconstruction", method.ToString(), "--precision", Precision, "--seed", Seed, "--device", Device, "--image", $"{Pixels}",
        ];
        if (TrainStage != "all")
        {
            words.AddRange(["--train-stage", TrainStage]);
        }

        var (peak, step) = MemoryProcess.Measure($"refinement with {method}", words);
        return new(method.ToString(), peak, step);
    }

    private static Finding[] Judge(List<FinetuneRow> rows, List<FinetuneMemoryRow> memory, Reconstruction method, int classes)
    {
        var (tied, untied, refined) = (rows[0].TestAccuracy, rows[1].TestAccuracy, rows[^1].TestAccuracy);
        return
        [
            new("Untying changes nothing at first", $"test accuracy {tied:0.00 %} tied, {untied:0.00 %} untied", Math.Abs(tied - untied) < 1e-3),
            new("Refinement of the untied network with the adjoint does not lose accuracy", $"from {untied:0.00 %} to {refined:0.00 %}", tied < 2.0 / classes ? null : refined >= untied - 0.005),
            .. memory.Count < 2
                ? Array.Empty<Finding>()
                : [new("The adjoint refines in less memory", $"a step adds {memory[0].StepBytes / 1048576.0:0.0} MiB with {method}, {memory[1].StepBytes / 1048576.0:0.0} MiB with backprop", memory[0].StepBytes < memory[1].StepBytes)],
        ];
    }
}
