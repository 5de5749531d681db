using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What the benchmark and its single points share: networks, methods, solver.</summary>
internal sealed class BenchGroup : OptionGroup
{
    [Option('d', "depths", MetaValue = "N,N,...", HelpText =
        "Numbers of residual functions (default: 16,64,256; bottleneck 16,32).")]
    [Section("model")]
    [MayChange]
    public string? Depths { get => Optional(); set => Set(value); }

    [Option('p', "planes", MetaValue = "C,C,...", HelpText =
        "Channels of the state (default: tiny 16,64; bottleneck 256; linear's width 500), or planes of the first of four "
        + "stages (64).")]
    [Section("model")]
    [MayChange]
    public string? Planes { get => Optional(); set => Set(value); }

    [Option('n', "network", Default = "tiny,bottleneck,linear", MetaValue = "{networks},...", HelpText =
        "TinyResNet; 14×14 maps with ReLU–conv1×1–BN–ReLU–conv3×3–BN–ReLU–conv1×1–BN; one shared "
        + "Linear–tanh–Linear of 8 hidden; whole networks of four stages, as 'train' has them.")]
    [Section("model")]
    [MayChange]
    public string Network { get => Given(); set => Set(value); }

    [Option("size", MetaValue = SizeGroup.Syntax + ",...", HelpText = "Blocks of networks of four stages (default: 18).")]
    [Section("model")]
    [MayChange]
    public string? Size { get => Optional(); set => Set(value); }

    [Option("classes", MetaValue = "K", HelpText =
        "Classes of networks that end in scores (default: tiny 10; four stages 1000, with the stem for ImageNet).")]
    [Section("model")]
    [MayChange]
    public string? Classes { get => Optional(); set => Set(value); }

    [Option("image", MetaValue = "P", HelpText = "Rows and columns of the images of networks of four stages (default: 32).")]
    [Section("training")]
    [MayChange]
    public string? Image { get => Optional(); set => Set(value); }

    [Option('m', "methods", MetaValue = "METHOD,...", HelpText =
        "{peers}, or a reconstruction: {methods} (default: {default-methods}).")]
    [Section("method")]
    public string? Methods { get => Optional(); set => Set(value); }

    [Option("precision", Default = BenchNetwork.Float32, MetaValue = "float32|bfloat16,...", HelpText =
        "Precision of the residual functions; in bfloat16, reconstructions alone are measured.")]
    [Section("method")]
    [MayChange]
    public string Precision { get => Given(); set => Set(value); }

    [Option('b', "batch", MetaValue = "B", HelpText =
        "Images or rows in a step (default: 128, bottleneck 16, linear 500).")]
    [Section("training")]
    [MayChange]
    public string? Batch { get => Optional(); set => Set(value); }

    private IReadOnlyList<string> Names => NamesOf(Network);

    public override string? Placeholder(string name) => name switch
    {
        "networks" => string.Join('|', BenchNetwork.Names),
        "peers" => string.Join(", ", BenchMethod.Peers),
        "methods" => Reconstruction.Syntax,
        "default-methods" => BenchMethod.Usual,
        _ => null,
    };

    /// <summary>Refuses options that no network here has.</summary>
    public override void Start(Verb verb)
    {
        var names = NamesOf(Peek(nameof(Network))!);
        void Needs(string option, Func<string, bool> has, string which)
        {
            var own = verb.Options.First(o => o.Name == option);
            if (own.Text is { } text && own.IsChanged && !names.Any(has))
            {
                throw new UsageException($"--{option} is {Read.Shown(text)}, but --network has none {which}");
            }
        }

        if (Peek(nameof(Size)) is { } size)
        {
            Sizes(size);
        }

        Needs("size", BenchNetwork.IsStaged, "of four stages");
        Needs("image", BenchNetwork.IsStaged, "of four stages");
        Needs("classes", BenchNetwork.HasClasses, "that ends in scores");
        Needs("depths", name => !BenchNetwork.IsStaged(name), "of one stage; those of four have a --size");
    }

    public BenchRun ReadRun(Solver solver, int? rounds, long seed)
    {
        var methods = Read.Several("methods", Methods ?? BenchMethod.Usual, m => BenchMethod.Parse(m, solver));
        return new BenchRun(methods, rounds, seed);
    }

    public List<BenchNetwork> ReadNetworks(BenchRun run)
    {
        var precisions = Read.Several(
            "precision", Precision, text => Read.OneOf("precision", text, BenchNetwork.Float32, BenchNetwork.Bfloat16));
        var networks = (
            from name in Names
            from precision in precisions
            from network in BenchNetwork.IsStaged(name) ? ReadStaged(name) : ReadOneStage(name, run.Methods[0].Options.Solver)
            select network with { Precision = precision }).ToList();
        foreach (var network in networks)
        {
            var own = run.Methods.Where(m => m.Fits(network)).ToList();
            Refuse(Methods is not null && !network.HasChannels && run.Methods.Any(m => m.Name == BenchMethod.ChannelsLast),
                $"--methods: {BenchMethod.ChannelsLast} needs images; the states of {network.Name} have no channels");
            Refuse(own.Count == 0, "--precision is bfloat16, but --methods has no reconstruction; what is written with TorchSharp "
                + "alone computes in float32");
            network.Check(own);
        }

        return networks;
    }

    private IEnumerable<BenchNetwork> ReadOneStage(string name, Solver solver)
    {
        var usual = BenchNetwork.Defaults(name);
        return
            from planes in Read.Wholes("planes", Planes ?? usual.Planes, name == "bottleneck" ? 4 : 1)
            from depth in Read.Wholes("depths", Depths ?? usual.Depths, solver.FunctionOffsets.Max() + 1)
            let batch = Read.Whole("batch", Batch ?? usual.Batch, 2)
            select (BenchNetwork)(name == "tiny"
                ? new TinyNetwork(planes, batch) { Depth = depth, Classes = Read.Whole("classes", Classes ?? usual.Classes) }
                : new StageNetwork(name, planes, batch) { Depth = depth });
    }

    private IEnumerable<BenchNetwork> ReadStaged(string name)
    {
        var usual = BenchNetwork.Defaults(name);
        return
            from planes in Read.Wholes("planes", Planes ?? usual.Planes)
            from size in Sizes(Size ?? "18")
            select new StagedNetwork(name, planes, Read.Whole("batch", Batch ?? usual.Batch, 2))
            {
                Size = size,
                Classes = Read.Whole("classes", Classes ?? usual.Classes),
                Image = Read.Whole("image", Image ?? "32"),
            };
    }

    private static IReadOnlyList<string> NamesOf(string text) =>
        Read.Several("network", text, name => Read.OneOf("network", name, BenchNetwork.Names));

    private static IReadOnlyList<NetworkSize> Sizes(string text) =>
        Read.Several("size", text, part => Read.Checked("size", part, NetworkSize.Parse));

    private static void Refuse(bool wrong, string message)
    {
        if (wrong)
        {
            throw new UsageException(message);
        }
    }
}
