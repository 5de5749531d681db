using ResNetNodes.Data;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Data sets by name: where they lie, how they are fetched, how their images become inputs.</summary>
internal static class DataSets
{
    private const int SyntheticTrain = 2000;
    private const int SyntheticTest = 500;

    public static IReadOnlyList<string> Names { get; } = ["fashion-mnist", "cifar10", "cifar100", "image-folder", "imagenet", "synthetic"];

    /// <summary>
    /// Where downloads go, and where CIFAR is looked for unless told: data in the cache folder that build.sh uses too.
    /// </summary>
    public static string DefaultFolder
    {
        get
        {
            static string? Set(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
            var home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            var cache = Set("RESNET_NODES_CACHE")
                ?? Path.Combine(Set("XDG_CACHE_HOME") ?? Path.Combine(home, ".cache"), "resnet-nodes");
            return Path.Combine(cache, "data");
        }
    }

    /// <summary>Refuses options that mean nothing for a data set.</summary>
    public static void Check(string dataset, string? path, bool download, bool skipCorrupt, bool resized)
    {
        var isFolder = IsResized(dataset);
        Refuse(download && dataset is not ("cifar10" or "cifar100"), $"--download is for cifar10 and cifar100, --dataset is {dataset}");
        Refuse(skipCorrupt && !isFolder, $"--skip-corrupt is for image-folder and imagenet, --dataset is {dataset}");
        Refuse(resized && !isFolder, $"--image-size is for image-folder and imagenet, --dataset is {dataset}");
        Refuse(path is not null && dataset == "synthetic", "--data names the files of a data set; synthetic has none");
        Refuse(path is null && isFolder, $"--dataset {dataset} needs --data, the folder with train and val, one folder a class in each");
    }

    /// <summary>Opens one split of a data set.</summary>
    /// <param name="dataset">One of <see cref="Names"/>; checked.</param>
    /// <param name="path">Its folder or archive; null for the usual place.</param>
    /// <param name="train">The training images, or the test images.</param>
    /// <param name="download">Fetch its archive to the folder first, if no whole one is there.</param>
    /// <param name="skipCorrupt">Leave out image files that can't be decoded.</param>
    /// <param name="syntheticSeed">Seed of synthetic images.</param>
    /// <param name="terminal">For the download's progress.</param>
    /// <param name="cancellation">Ends a download.</param>
    /// <returns>The images, and the augmentation of their training; testing takes it without randomness.</returns>
    public static (ImageDataset Images, Augmentation Augmentation) Open(
        string dataset,
        string? path,
        bool train,
        bool download,
        bool skipCorrupt,
        int syntheticSeed,
        Terminal terminal,
        CancellationToken cancellation)
    {
        ImageDataset images = dataset switch
        {
            "fashion-mnist" => FashionMnist.Load(path ?? FashionMnist.DefaultFolder, train),
            "cifar10" => OpenCifar(dataset, 10, path, train, download, terminal, cancellation),
            "cifar100" => OpenCifar(dataset, 100, path, train, download, terminal, cancellation),
            "image-folder" or "imagenet" => OpenFolder(path!, train, skipCorrupt, terminal),
            // The splits share the patterns, not the noise.
            _ => SyntheticImages.Create(train ? SyntheticTrain : SyntheticTest, syntheticSeed + (train ? 0 : 1)),
        };
        return (images, AugmentationOf(dataset));
    }

    /// <summary>How the training images of a data set become inputs.</summary>
    /// <param name="dataset">One of <see cref="Names"/>; checked.</param>
    public static Augmentation AugmentationOf(string dataset) => dataset switch
    {
        "fashion-mnist" => Augmentation.Grey,
        "image-folder" => Augmentation.ImageNet with { Size = 64, Resize = 73 },
        "imagenet" => Augmentation.ImageNet,
        _ => Augmentation.Cifar,
    };

    /// <summary>The same with a result of another size.</summary>
    public static Augmentation Sized(Augmentation augmentation, int size) =>
        // The shorter side before the crop, in ImageNet's proportion of 256 to 224.
        augmentation with { Size = size, Resize = (int)Math.Ceiling(size * 256 / 224.0) };

    /// <summary>Whether images of a data set are resized, so that their size can be chosen.</summary>
    public static bool IsResized(string dataset) => dataset is "image-folder" or "imagenet";

    private static ImageFolder OpenFolder(string path, bool train, bool skipCorrupt, Terminal terminal)
    {
        var images = ImageFolder.LoadSplit(path, train, skipCorrupt);
        if (images.LeftOut is { } leftOut)
        {
            terminal.Warn($"{Path.Combine(path, images.Name)}: left out: {leftOut}");
        }

        return images;
    }

    private static ImageDataset OpenCifar(
        string dataset, int classes, string? path, bool train, bool download, Terminal terminal, CancellationToken cancellation)
    {
        var place = path ?? DefaultFolder;
        if (download && !File.Exists(place))
        {
            // A whole archive is kept, a damaged one replaced.
            place = Cifar.Download(place, classes, progress => Report(progress, dataset, terminal), cancellation);
        }

        return Cifar.Exists(place, classes)
            ? Cifar.Load(place, train, classes)
            : throw new ResNetNodesException($"{place}: {dataset} is not there; give --data or --download");
    }

    private static void Report(DownloadProgress progress, string dataset, Terminal terminal)
    {
        const int shift = 20;
        var share = (double)progress.Bytes / progress.Total;
        terminal.Progress(share, $"{dataset}: {progress.Bytes >> shift} of {progress.Total >> shift} MiB");
    }

    private static void Refuse(bool wrong, string message)
    {
        if (wrong)
        {
            throw new UsageException(message);
        }
    }
}
