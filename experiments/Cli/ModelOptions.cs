using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Options of verbs that train on images.</summary>
internal abstract class ModelOptions : CommonOptions
{
    [Option('n', "network", Default = "tiny", MetaValue = "tiny", HelpText = "The network: tiny (TinyResNet, figures 3c and 4).")]
    [Section("model")]
    public string Network { get; set; } = "tiny";

    [Option('p', "planes", Default = "16", MetaValue = "C", HelpText = "Channels of the residual stage.")]
    [Section("model")]
    public string Planes { get; set; } = "16";

    [Option("zero-init", HelpText = "Start every residual function as 0 (last batch normalization of weight 0) [true].")]
    [Section("model")]
    public bool? ZeroInit { get; set; }

    [Option("execution", Default = "auto", MetaValue = "auto|layers|callback", HelpText = "Residual functions as native layers, or by calling the modules.")]
    [Section("method")]
    public string Execution { get; set; } = "auto";

    [Option("dataset", Default = "fashion-mnist", MetaValue = "fashion-mnist|synthetic", HelpText = "The images.")]
    [Section("data")]
    public string Dataset { get; set; } = "fashion-mnist";

    [Option("data", Default = FashionMnist.DefaultFolder, MetaValue = "FOLDER", HelpText = "Folder of the data set's files.")]
    [Section("data")]
    public string Data { get; set; } = FashionMnist.DefaultFolder;

    [Option("limit", MetaValue = "N", HelpText = "The first N images of each half alone.")]
    [Section("data")]
    public string? Limit { get; set; }

    [Option('b', "batch", Default = "128", MetaValue = "B", HelpText = "Images a training step.")]
    [Section("training")]
    public string Batch { get; set; } = "128";

    [Option('l', "lr", Default = "0.1", MetaValue = "RATE", HelpText = "First learning rate of SGD (momentum 0.9, weight decay 5e-4).")]
    [Section("training")]
    public string Rate { get; set; } = "0.1";

    protected int BatchNumber => Read.Whole("batch", Batch, 1);

    protected double RateNumber => Read.Number("lr", Rate, 0, aboveLeast: true);

    /// <summary>A network of this depth.</summary>
    protected TinyResNet Build(int depth, StageOptions stage)
    {
        Read.OneOf("network", Network, "tiny");
        return new TinyResNet(new TinyResNetOptions
        {
            Depth = depth,
            Planes = Read.Whole("planes", Planes, 1),
            ZeroInit = ZeroInit ?? true,
            Seed = SeedNumber,
            Stage = stage with { Execution = Read.Choice<StageExecution>("execution", Execution), AccumulateGradientsInPlace = true },
        });
    }

    /// <summary>One half of the images, and how they become inputs.</summary>
    protected (ImageDataset Images, Augmentation Augmentation) Load(bool train)
    {
        var synthetic = Read.OneOf("dataset", Dataset, "fashion-mnist", "synthetic") == "synthetic";
        ImageDataset images = synthetic
            ? SyntheticImages.Create(train ? 2000 : 500, (int)SeedNumber + (train ? 0 : 1))
            : FashionMnist.Load(Data, train);
        if (Limit is not null)
        {
            images = images.Take(Read.Whole("limit", Limit, 1));
        }

        return (images, synthetic ? new Augmentation() : Augmentation.Grey);
    }
}
