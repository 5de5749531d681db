using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli.Parsing;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Images to train on and to test with.</summary>
internal sealed class ImagesGroup : OptionGroup
{
    /// <summary>Images in a batch when testing.</summary>
    public const int TestBatch = 500;

    [Option("dataset", Default = "fashion-mnist", MetaValue = "{datasets}", HelpText = "The images.")]
    [Section("data")]
    public string Dataset { get => Given(); set => Set(value); }

    [Option("data", MetaValue = "PATH", HelpText =
        "Folder of the data set's files, or CIFAR's .tar.gz (default: where --download or the system puts them).")]
    [Section("data")]
    public string? Data { get => Optional(); set => Set(value); }

    [Option("download", HelpText = "Fetch CIFAR from its authors' page first if it is not there.")]
    [Section("data")]
    public bool? Download { get => Switch(); set => Set(value); }

    [Option("image-size", MetaValue = "N", HelpText =
        "Rows and columns that images of image-folder [64] and imagenet [224] are resized to.")]
    [Section("data")]
    public string? ImageSize { get => Optional(); set => Set(value); }

    [Option("skip-corrupt", HelpText = "Skip and count images that can't be decoded, instead of stopping.")]
    [Section("data")]
    public bool? SkipCorrupt { get => Switch(); set => Set(value); }

    [Option("limit", MetaValue = "N", HelpText = "Use only the first N images of each split.")]
    [Section("data")]
    public string? Limit { get => Optional(); set => Set(value); }

    [Option("drop-last", HelpText = "Leave out the last training batch of an epoch where it is smaller.")]
    [Section("data")]
    public bool? DropLast { get => Switch(); set => Set(value); }

    [Option("workers", MetaValue = "N", HelpText =
        "Threads that decode and augment images (default: half of the cores, at most 8).")]
    [Section("data")]
    [MayChange]
    public string? Workers { get => Optional(); set => Set(value); }

    /// <summary>Threads that decode and augment.</summary>
    public int WorkersNumber => Workers is { } text ? Read.Whole("workers", text, 1) : BatchLoader.DefaultWorkers;

    /// <summary>Rows and columns of a network's input, once images are loaded.</summary>
    public int Pixels { get; private set; } = 32;

    public override string? Placeholder(string name) => name == "datasets" ? string.Join('|', DataSets.Names) : null;

    /// <summary>Refuses what does not go together, before anything is read; a check is no use of an option.</summary>
    public override void Start(Verb verb)
    {
        var dataset = Read.OneOf("dataset", Peek(nameof(Dataset))!, DataSets.Names);
        bool IsOn(string property) => Peek(property) == "true";
        DataSets.Check(
            dataset, Peek(nameof(Data)), IsOn(nameof(Download)), IsOn(nameof(SkipCorrupt)), Peek(nameof(ImageSize)) is not null);
        CheckNumber("limit", Peek(nameof(Limit)));
        CheckNumber("image-size", Peek(nameof(ImageSize)));
        CheckNumber("workers", Peek(nameof(Workers)));
    }

    /// <summary>One split of the images, and how they become inputs in training.</summary>
    /// <param name="train">The training images, or the test images.</param>
    /// <param name="seed">Of synthetic images.</param>
    /// <param name="terminal">For the progress of a download.</param>
    /// <param name="cancellation">Ends a download.</param>
    public (ImageDataset Images, Augmentation Augmentation) Load(bool train, long seed, Terminal terminal, CancellationToken cancellation)
    {
        var (images, augmentation) = DataSets.Open(
            Dataset, Data, train, Download == true, SkipCorrupt == true, (int)seed, terminal, cancellation);
        if (ImageSize is { } text)
        {
            augmentation = DataSets.Sized(augmentation, Read.Whole("image-size", text, 1));
        }

        Pixels = augmentation.Size;
        return (Limit is { } limit ? images.Take(Read.Whole("limit", limit, 1)) : images, augmentation);
    }

    /// <summary>Batches of the training images: shuffled and augmented.</summary>
    public (BatchLoader Loader, ImageDataset Images) TrainBatches(int size, long seed, Terminal terminal, CancellationToken cancellation)
    {
        var (images, augmentation) = Load(true, seed, terminal, cancellation);
        return (Batches(images, augmentation, size, seed), images);
    }

    /// <summary>Batches of the training images, without those to validate with, and batches of these: in order and as they are.</summary>
    /// <param name="size">Images of a training batch.</param>
    /// <param name="share">Share of validation images; null: none.</param>
    /// <param name="seed">Of order, augmentation and split.</param>
    /// <param name="terminal">For the progress of a download.</param>
    /// <param name="cancellation">Ends a download.</param>
    public (BatchLoader Train, ImageDataset Images, BatchLoader? Validation) SplitBatches(
        int size, double? share, long seed, Terminal terminal, CancellationToken cancellation)
    {
        var (images, augmentation) = Load(true, seed, terminal, cancellation);
        if (share is null)
        {
            return (Batches(images, augmentation, size, seed), images, null);
        }

        var (training, validation) = images.Split(share.Value, seed);
        return (
            Batches(training, augmentation, size, seed), training,
            new BatchLoader(validation, augmentation.WithoutRandomness(), TestBatch, null, WorkersNumber));
    }

    /// <summary>Batches of training images that are loaded.</summary>
    public BatchLoader Batches(ImageDataset images, Augmentation augmentation, int size, long seed) =>
        new(images, augmentation, size, seed, WorkersNumber, DropLast == true);

    /// <summary>Batches of the test images: in order and as they are.</summary>
    public (BatchLoader Loader, ImageDataset Images) TestBatches(int size, long seed, Terminal terminal, CancellationToken cancellation)
    {
        var (images, augmentation) = Load(false, seed, terminal, cancellation);
        return (new BatchLoader(images, augmentation.WithoutRandomness(), size, null, WorkersNumber), images);
    }

    private static void CheckNumber(string option, string? text)
    {
        if (text is not null)
        {
            Read.Whole(option, text, 1);
        }
    }
}
