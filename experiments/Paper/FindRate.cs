using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Measuring;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Paper;

/// <summary>A step of the range test, and the loss on the line fitted around it.</summary>
internal sealed record RateRow(double LearningRate, double Loss, double SmoothedLoss);

/// <summary>What the losses say: a rate to begin with, that of the lowest loss, and that at which the training diverged.</summary>
internal sealed record FoundRateRow(double? Suggested, double? Lowest, double? DivergedAt);

/// <summary>Finds a learning rate.</summary>
[Verb("lr-find", HelpText = "Find a learning rate: training steps at rising rates, and the loss before each.")]
[Page(
    "A range test (Smith, arXiv 1506.01186, section 3.3). suggested is the rate at which the loss falls fastest as the rate rises: a safe "
    + "one, of which a few times as much may be better (docs/training.md). Other options are to be those of the training.",
    "resnet-nodes lr-find --depth 16                                      (10 seconds on 2 cores)",
    "resnet-nodes lr-find --depth 16 --optimizer adamw --lr-to 1 --json")]
[PaperRow("beyond the paper", order: 0)]
[JsonRows(typeof(RateRow), typeof(FoundRateRow))]
[Preset("smoke", "dataset=synthetic", "limit=200", "depth=4", "planes=4", "batch=20", "steps=40")]
[Preset("small", "dataset=fashion-mnist", "depth=16")]
[Preset("paper", "dataset=cifar10", "depth=64", "batch=256", "reconstruction=inverse")]
internal sealed class FindRate : ImageTraining
{
    [Option("lr-from", Default = "1e-5", MetaValue = "RATE", HelpText = "Learning rate of the first step.")]
    [Section("training")]
    public string From { get => Given(); set => Set(value); }

    [Option("lr-to", Default = "10", MetaValue = "RATE", HelpText = "Learning rate of the last step.")]
    [Section("training")]
    public string To { get => Given(); set => Set(value); }

    [Option("steps", Default = "100", MetaValue = "N", HelpText = "Training steps, 10 or more; fewer where the training diverges.")]
    [Section("training")]
    public string Steps { get => Given(); set => Set(value); }

    public StepGroup Step { get; } = new();

    public OptimizationGroup Optimization { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var network = KnownNetwork();
        var search = new LearningRateSearch
        {
            Least = Read.Number("lr-from", From),
            Most = Read.Number("lr-to", To),
            Steps = Read.Whole("steps", Steps, 10),
        };
        if (search.Least >= search.Most)
        {
            throw new UsageException($"--lr-from is {From}, expected less than --lr-to, which is {To}");
        }

        var options = TrainingOf(Optimization.On(Device.Value), Step);
        var (train, images) = Images.TrainBatches(Batch.Number, Seed.Number, terminal, cancellation);
        var load = Workload.Of(options, Batch.Number, images, Images.Pixels);
        using var model = Build(network, Stage, images.Classes, load with { Copies = load.Copies + 1 });
        Init.Load(model, images.ClassNames);
        var folder = RunFolder.Open(this);
        var stages = NetworkGroup.StagesOf(model);
        terminal.Say(
            $"{images.Name}: {images.Count} images; {string.Join("; ", stages.Select(s => s.ToString()))}; batch {Batch.Number}; "
            + $"output in {folder.Path}");
        ShowMethods(terminal, stages);
        var done = 0;
        var losses = folder.Point("losses", () =>
        {
            Allocator.KeepFreedMemory();
            var measured = search.Run(model, options, train, Tell, cancellation);
            return new Losses([.. measured.Points], measured.DivergedAt);
        });
        var curve = new LearningRateCurve(losses.Points, losses.DivergedAt);
        List<RateRow> rows =
            [.. curve.Points.Zip(curve.SmoothedLosses, (point, smoothed) => new RateRow(point.LearningRate, point.Loss, smoothed))];
        var found = new FoundRateRow(curve.Suggested, curve.Lowest, curve.DivergedAt);
        rows.ForEach(terminal.Row);
        terminal.Row(found);
        folder.WriteCsv("losses.csv", rows);
        folder.WriteCsv("found.csv", [found]);
        terminal.Table([found]);
        var title = $"{network} on {images.Name}: " + (found.Suggested is { } rate
            ? $"the loss falls fastest at a learning rate of {Shown(rate)}"
            : "the loss falls at no learning rate by more than batches differ");
        if (rows.Count > 0)
        {
            terminal.Say("figure: " + Draw(folder, title, rows, found));
        }

        folder.Finish(terminal, $"Learning rates of {network} on {images.Name}", Finding(found));

        void Tell(LearningRatePoint point)
        {
            done++;
            terminal.Progress(
                (double)done / search.Steps,
                $"lr-find: step {done}/{search.Steps}, rate {Shown(point.LearningRate)}, loss {point.Loss:0.000}");
        }
    }

    private static string Draw(RunFolder folder, string title, IReadOnlyList<RateRow> rows, FoundRateRow found)
    {
        List<double> rates = [.. rows.Select(row => row.LearningRate)];
        List<Series> series =
        [
            new("a step", rates, [.. rows.Select(row => row.Loss)], PaperFigure.ColourAt(5)) { Stroke = Stroke.None },
            new("smoothed", rates, [.. rows.Select(row => row.SmoothedLoss)], PaperFigure.DarkBlue) { Marker = Marker.None },
        ];
        if (found.Suggested is { } suggested)
        {
            var at = rows.First(row => row.LearningRate == suggested).SmoothedLoss;
            series.Add(new("suggested", [suggested], [at], PaperFigure.Red) { Stroke = Stroke.None, Marker = Marker.Square });
        }

        return PaperFigure.Save(folder, "losses", title, new Panel("Learning rate", "Training loss", series) { LogX = true });
    }

    private static Finding Finding(FoundRateRow found)
    {
        var limits = (found.Lowest is { } lowest ? $"; the lowest loss is at {Shown(lowest)}" : string.Empty)
            + (found.DivergedAt is { } diverged ? $"; the training diverges at {Shown(diverged)}" : string.Empty);
        return new(
            "Ours: a learning rate can be suggested",
            (found.Suggested is { } rate
                ? $"the loss falls fastest at {Shown(rate)}"
                : "the loss nowhere falls by more than batches differ") + limits,
            found.Suggested is null ? null : true);
    }

    private static string Shown(double rate) => rate < 1e-3 ? $"{rate:0.0e+0}" : $"{rate:G2}";

    private sealed record Losses(List<LearningRatePoint> Points, double? DivergedAt);
}
