using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;

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
        "Channels of the state (default: tiny 16,64; bottleneck 256; linear's width 500).")]
    [Section("model")]
    [MayChange]
    public string? Planes { get => Optional(); set => Set(value); }

    [Option('n', "network", Default = "tiny,bottleneck,linear", MetaValue = "tiny|bottleneck|linear,...", HelpText =
        "TinyResNet; 14×14 maps with ReLU–conv1×1–BN–ReLU–conv3×3–BN–ReLU–conv1×1–BN; one shared Linear–tanh–Linear of "
        + "8 hidden.")]
    [Section("model")]
    [MayChange]
    public string Network { get => Given(); set => Set(value); }

    [Option('m', "methods", MetaValue = "METHOD,...", HelpText =
        "{peers}, or a reconstruction: {methods} (default: {default-methods}).")]
    [Section("method")]
    public string? Methods { get => Optional(); set => Set(value); }

    [Option('b', "batch", MetaValue = "B", HelpText =
        "Images or rows in a step (default: tiny 128, bottleneck 16, linear 500).")]
    [Section("training")]
    public string? Batch { get => Optional(); set => Set(value); }

    public override string? Placeholder(string name) => name switch
    {
        "peers" => string.Join(", ", BenchMethod.Peers),
        "methods" => Reconstruction.Syntax,
        "default-methods" => BenchMethod.Usual,
        _ => null,
    };

    public BenchRun ReadRun(Solver solver, int? rounds, long seed)
    {
        var methods = Read.Several("methods", Methods ?? BenchMethod.Usual, m => BenchMethod.Parse(m, solver));
        return new BenchRun(methods, rounds, seed);
    }

    public List<BenchNetwork> ReadNetworks(BenchRun run)
    {
        var least = run.Methods[0].Options.Solver.FunctionOffsets.Max() + 1;
        var networks = (
            from name in Read.Several("network", Network, n => Read.OneOf("network", n, BenchNetwork.Names))
            let usual = BenchNetwork.Defaults(name)
            from planes in Read.Wholes("planes", Planes ?? usual.Planes, name == "bottleneck" ? 4 : 1)
            from depth in Read.Wholes("depths", Depths ?? usual.Depths, least)
            select new BenchNetwork(name, planes, depth, Read.Whole("batch", Batch ?? usual.Batch, 2))).ToList();
        networks.ForEach(network => network.Check(run.Methods));
        return Methods is not null && networks.FirstOrDefault(n => run.Methods.Any(m => !m.Fits(n))) is { } misfit
            ? throw new UsageException(
                $"--methods: torchsharp-channels-last needs images; the states of {misfit.Name} have no channels")
            : networks;
    }
}
