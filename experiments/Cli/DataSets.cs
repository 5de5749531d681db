using ResNetNodes.Data;

namespace ResNetNodes.Experiments.Cli;

/// <summary>The data sets by name.</summary>
internal static class DataSets
{
    public static (ImageDataset Images, Augmentation Augmentation) Open(string dataset, string? path, bool train, bool download, bool skipCorrupt, int syntheticSeed, Terminal terminal, CancellationToken cancellation)
    {
        var synthetic = Read.OneOf("dataset", dataset, "fashion-mnist", "synthetic") == "synthetic";
        return synthetic
            ? (SyntheticImages.Create(train ? 2000 : 500, syntheticSeed + (train ? 0 : 1)), new Augmentation())
            : (FashionMnist.Load(path ?? FashionMnist.DefaultFolder, train), Augmentation.Grey);
    }
}
