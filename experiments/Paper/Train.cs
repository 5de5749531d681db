using CommandLine;
using ResNetNodes.Distributed;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>Trains a network.</summary>
[Verb("train", HelpText = "Train a network on images and watch its reconstruction.")]
[Page(
    "Training with the adjoint instead of stored states (arXiv 2205.14612, section 4).",
    "resnet-nodes train --depth 16 --epochs 3 --seed 1 --out runs/a        (2 minutes on 2 cores)",
    "resnet-nodes train --depth 8 --dataset synthetic --epochs 1 --json    (10 seconds)")]
[PaperRow("section 4", order: 4)]
[JsonRows(typeof(EpochMetrics), typeof(PlanRow), typeof(PlanPartRow))]
[MayChange("epochs")]
[Ranked]
[Preset("smoke", "dataset=synthetic", "limit=200", "depth=4", "planes=4", "epochs=1")]
[Preset("small", "dataset=fashion-mnist", "limit=20000", "depth=16", "epochs=2")]
[Preset("paper", "dataset=cifar10", "depth=64", "batch=256", "epochs=90", "schedule=thirds", "reconstruction=inverse")]
internal sealed class Train : ImageTraining
{
    public ScheduleGroup Schedule { get; } = new();

    public RateGroup Rate { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    public SavingGroup Saving { get; } = new();

    public TrainerGroup Trainer { get; } = new();

    [Option("sync-batch-norm", HelpText = "Under mpirun: batch statistics are those of all ranks' images, not of each rank's own.")]
    [Section("training")]
    public bool? SyncBatchNorm { get => Switch(); set => Set(value); }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var network = KnownNetwork();
        if (!RankedRun.TrainsTogether)
        {
            Unused("sync-batch-norm", "this is the only process; start several with mpirun -n K");
        }

        var ranks = RankedRun.Join(this);
        var options = TrainingOf(Saving.On(Schedule.On(Rate.On(Optimization.On(Device.Value)))), Trainer);
        var stage = Stage with { ReportReconstructionError = true };
        var batch = Batch.Number;
        var (train, images, validation) = RankedRun.InTurn(
            () => Images.SplitBatches(batch, Trainer.Share, Seed.Number, terminal, cancellation));
        var (test, testImages) = RankedRun.InTurn(
            () => Images.TestBatches(ImagesGroup.TestBatch, Seed.Number, terminal, cancellation));
        train.RequireShares(ranks?.Size ?? 1);
        var share = (int)Math.Ceiling((double)batch / (ranks?.Size ?? 1));
        using var model = Build(network, stage, images.Classes, Workload.Of(options, share, images, Images.Pixels));
        Init.Load(model, images.ClassNames);
        using var parallel = ranks is null ? null : new DataParallel(model, ranks, SyncBatchNorm == true);
        var folder = RankedRun.IsFirst ? RunFolder.Open(this) : null;
        var stages = NetworkGroup.StagesOf(model);
        terminal.Say(
            $"{images.Name}: {images.Count} + {testImages.Count} images; {string.Join("; ", stages.Select(s => s.ToString()))}; "
            + $"batch {batch}{(ranks is null ? string.Empty : $" on {ranks.Size} ranks")}; output in {folder?.Path}");
        ShowMethods(terminal, stages);
        var history = new TrainingRun(folder, terminal, "train")
            .Go((nn.Module<Tensor, Tensor>?)parallel ?? model, options, train, test, validation, terminal.Row, cancellation);
        if (folder is not null)
        {
            Show(history, folder, terminal, network, stage, images.Name, validation is not null);
        }
    }

    private static void Show(
        IReadOnlyList<EpochMetrics> history,
        RunFolder folder,
        Terminal terminal,
        string network,
        StageOptions stage,
        string images,
        bool isValidated)
    {
        terminal.Table(history);
        var epochs = history.Select(m => (double)m.Epoch).ToList();
        var title = $"{network} with {stage.Reconstruction} on {images}"
            + (history.Count > 0 ? $": test accuracy {history[^1].TestAccuracy:0.0 %} after epoch {history[^1].Epoch}" : string.Empty);
        terminal.Say("figure: " + PaperFigure.Save(folder, "accuracy", title, "Epoch", "Accuracy (%)",
        [
            new Series("train", epochs, [.. history.Select(m => 100 * m.TrainAccuracy)], PaperFigure.DarkBlue) { Marker = Marker.Circle },
            new Series("test", epochs, [.. history.Select(m => 100 * m.TestAccuracy)], PaperFigure.Red),
            .. !isValidated ? Enumerable.Empty<Series>() :
            [
                new Series("validation", epochs, [.. history.Select(m => 100 * m.ValidationAccuracy!.Value)], PaperFigure.DarkBlue)
                {
                    Stroke = Stroke.Dashed,
                },
            ],
        ]));
        folder.Finish(terminal, $"Training of {network} with {stage.Reconstruction} on {images}");
    }
}
