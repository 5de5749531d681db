using CommandLine;
using ResNetNodes.Data;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Options of verbs that read images.</summary>
internal abstract class ImageOptions : CommonOptions
{
    [Option("dataset", Default = "fashion-mnist", MetaValue = "fashion-mnist|cifar10|cifar100|imagenet|image-folder|synthetic", HelpText = "The images.")]
    [Section("data")]
    public string Dataset { get; set; } = "fashion-mnist";

    [Option("data", MetaValue = "PATH", HelpText = "Folder of the data set's files, or CIFAR's .tar.gz (default: where --download or the system puts them).")]
    [Section("data")]
    public string? Data { get; set; }

    [Option("download", HelpText = "Fetch CIFAR from its authors' page first, if it is not there.")]
    [Section("data")]
    public bool? Download { get; set; }

    [Option("image-size", MetaValue = "N", HelpText = "Rows and columns that images of image-folder [64] and imagenet [224] are brought to.")]
    [Section("data")]
    public string? ImageSize { get; set; }

    [Option("skip-corrupt", HelpText = "Leave out and count images that can't be decoded, in place of stopping.")]
    [Section("data")]
    public bool? SkipCorrupt { get; set; }

    [Option("limit", MetaValue = "N", HelpText = "The first N images of each half alone.")]
    [Section("data")]
    public string? Limit { get; set; }

    [Option("workers", MetaValue = "N", HelpText = "Threads that decode and augment images (default: half of the cores, at most 8).")]
    [Section("data")]
    [MayChange]
    public string? Workers { get; set; }

    [Option('b', "batch", Default = "128", MetaValue = "B", HelpText = "Images a training step.")]
    [Section("training")]
    public string Batch { get; set; } = "128";

    /// <summary>Images a batch in testing.</summary>
    protected const int TestBatch = 500;

    protected int BatchNumber => Read.Whole("batch", Batch, 1);

    protected int WorkersNumber => Workers is null ? BatchLoader.DefaultWorkers : Read.Whole("workers", Workers, 1);

    /// <summary>Rows and columns of a network's input, once images are loaded.</summary>
    protected int Pixels { get; private set; } = 32;

    /// <summary>One half of the images, and how they become inputs in training.</summary>
    protected (ImageDataset Images, Augmentation Augmentation) Load(bool train, Terminal terminal, CancellationToken cancellation)
    {
        var (images, augmentation) = DataSets.Open(Dataset, Data, train, Is(Download), Is(SkipCorrupt), (int)SeedNumber, terminal, cancellation);
        if (ImageSize is not null)
        {
            Read.OneOf("dataset", Dataset, "image-folder", "imagenet");
            // The shorter side before the crop, in ImageNet's proportion of 256 to 224.
            var size = Read.Whole("image-size", ImageSize, 1);
            augmentation = augmentation with { Size = size, Resize = (int)Math.Ceiling(size * 256 / 224.0) };
        }

        Pixels = augmentation.Size;
        return (Limit is null ? images : images.Take(Read.Whole("limit", Limit, 1)), augmentation);
    }

    /// <summary>Batches of one half: shuffled and augmented in training, in order and as they are in testing.</summary>
    protected (BatchLoader Loader, ImageDataset Images) Batches(bool train, Terminal terminal, CancellationToken cancellation, int? size = null)
    {
        var (images, augmentation) = Load(train, terminal, cancellation);
        return (new BatchLoader(images, train ? augmentation : augmentation.WithoutRandomness(), size ?? BatchNumber, train ? SeedNumber : null, WorkersNumber), images);
    }
}
