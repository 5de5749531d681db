using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>A network on a data set.</summary>
internal sealed record EvaluationRow(
    string Network, string Dataset, string Split, long Images, double Loss, double Accuracy, double? Top5Accuracy, long Skipped);

/// <summary>A class: the share of its images that were found, and of those taken for it that are its own.</summary>
internal sealed record ClassRow(int Label, string Class, long Images, long Correct, double? Accuracy, double? Precision);

/// <summary>How many images of a class were taken for which; pairs without any are left out.</summary>
internal sealed record ConfusionRow(int Label, string Class, int Predicted, string PredictedClass, long Images);

/// <summary>Tests a trained network.</summary>
[Verb("evaluate", HelpText = "Test a trained network on a data set: accuracy, by class too, and what is taken for what.")]
[Page(
    "Takes the network, the size of its images and their normalization from --checkpoint. Classes of network and data set are matched by "
    + "their names, or by number where one of the two has none.",
    "resnet-nodes evaluate --checkpoint runs/train/checkpoint.bin                            (10 seconds on 2 cores)",
    "resnet-nodes evaluate --checkpoint runs/a/checkpoint.bin --dataset image-folder --data FOLDER --json")]
[JsonRows(typeof(EvaluationRow), typeof(ClassRow), typeof(ConfusionRow))]
[Defaults("batch=500")]
[Meaning("checkpoint", "The trained network: checkpoint.bin of a run, or what export or import has written.")]
[Meaning("batch", "Images at a time.")]
[Meaning("limit", "Use only the first N images.")]
[Meaning("image-size", "Rows and columns of the network's input (default: as in its training).")]
[Meaning("seed", "Seed of synthetic images.")]
internal sealed class Evaluate : Computation
{
    private const int Top = 5;

    [Option("split", Default = "test", MetaValue = "test|train", HelpText =
        "The images of the data set that are taken, without augmentation.")]
    [Section("data")]
    public string Split { get => Given(); set => Set(value); }

    public CheckpointGroup Checkpoint { get; } = new();

    public ImagesGroup Images { get; } = new();

    public BatchGroup Batch { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    public FolderGroup Folder { get; } = new();

    public override void Start(Verb verb)
    {
        base.Start(verb);
        Read.OneOf("split", Peek(nameof(Split))!, "test", "train");
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        Unused("drop-last", "all images are tested");
        var (model, description) = Checkpoint.Open(this);
        using var network = new TrainedClassifier(model, description, Device.Value);
        var (images, own) = Images.Load(Split == "train", Seed.Number, terminal, cancellation);
        var labels = Labels(network, images);
        var input = description.Input?.ToAugmentation() ?? own.WithoutRandomness();
        if (Images.ImageSize is { } size)
        {
            // In the proportion of training.
            var pixels = Read.Whole("image-size", size, 1);
            input = input with { Size = pixels, Resize = (int)Math.Ceiling((double)pixels * input.Resize / input.Size) };
        }

        network.Require("--image-size", input.Size, Batch.Number);
        var loader = new BatchLoader(images, input, Batch.Number, null, Images.WorkersNumber);
        var folder = RunFolder.Open(this);
        terminal.Say(
            $"{description.Summary}; {images.Name}: {images.Count} images of {Split}, {input.Size}×{input.Size}"
            + (description.Input is null ? "; it does not say what it was given: as in a training on this data set" : string.Empty)
            + $"; output in {folder.Path}");
        var found = Test(network, loader, labels, images, terminal, cancellation);

        var whole = new EvaluationRow(
            description.Summary, images.Name, Split, found.Images, found.Loss, found.Share(found.Correct), found.TopAccuracy,
            loader.Skipped);
        List<ClassRow> classes =
        [
            .. Enumerable.Range(0, description.Classes).Select(label => new ClassRow(
                label, network.NameOf(label), found.Of(label), found[label, label],
                Share(found[label, label], found.Of(label)), Share(found[label, label], found.TakenFor(label)))),
        ];
        List<ConfusionRow> confusion =
        [
            .. found.Pairs.Select(pair => new ConfusionRow(
                pair.Label, network.NameOf(pair.Label), pair.Predicted, network.NameOf(pair.Predicted), pair.Images)),
        ];
        terminal.Row(whole);
        classes.ForEach(terminal.Row);
        confusion.ForEach(terminal.Row);
        folder.WriteCsv("evaluation.csv", [whole]);
        folder.WriteCsv("classes.csv", classes);
        folder.WriteCsv("confusion.csv", confusion);
        terminal.Table([whole]);
        terminal.Table(classes);
        if (loader.Skipped > 0)
        {
            terminal.Warn($"{loader.Skipped} images could not be decoded and were left out");
        }

        var title = $"{description.Summary}, on {images.Name}: accuracy {whole.Accuracy:0.0 %} of {found.Images} images";
        terminal.Say(ConfusionFigure.Save(folder, "confusion", title, network.NameOf, description.Classes, found.Pairs) is { } path
            ? "figure: " + path
            : $"no figure: {description.Classes} classes are too many for one");
        folder.Finish(terminal, title);
    }

    private static double? Share(long part, long whole) => whole > 0 ? (double)part / whole : null;

    // Of each class of the data set its number in the network.
    private static int[] Labels(TrainedClassifier network, ImageDataset images)
    {
        var description = network.Description;
        if (description.ClassNames is { } known && images.ClassNames is { } given)
        {
            var numbers = known.Index().GroupBy(pair => pair.Item).ToDictionary(group => group.Key, group => group.First().Index);
            return given.FirstOrDefault(name => !numbers.ContainsKey(name)) is { } odd
                ? throw new ResNetNodesException(
                    $"{images.Name}: the network was not trained on its class '{OneLine.Of(odd)}', but on "
                    + $"{OneLine.Of(string.Join(", ", known.Take(5)))}{(known.Count > 5 ? ", …" : string.Empty)}; take another data set")
                : [.. given.Select(name => numbers[name])];
        }

        return images.Classes == description.Classes
            ? [.. Enumerable.Range(0, images.Classes)]
            : throw new ResNetNodesException(
                $"{images.Name}: has {images.Classes} classes, the network {description.Classes}; take the data set that it was trained "
                + "on");
    }

    private static Evaluation Test(
        TrainedClassifier network, BatchLoader loader, int[] numbers, ImageDataset images, Terminal terminal,
        CancellationToken cancellation)
    {
        var found = new Evaluation(network.Description.Classes, Top);
        foreach (var (i, batch) in loader.Epoch(0).Index())
        {
            using var scope = NewDisposeScope();
            using (batch)
            {
                cancellation.ThrowIfCancellationRequested();
                var (inputs, labels) = network.On(batch);
                var map = tensor(numbers, ScalarType.Int64, labels.device);
                found.Add(network.Scores(inputs, images.Name), map.index_select(0, labels));
            }

            terminal.Progress((i + 1.0) / loader.BatchCount, $"evaluate: {found.Images} images");
        }

        return found;
    }
}
