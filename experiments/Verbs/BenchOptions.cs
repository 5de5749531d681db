using CommandLine;
using ResNetNodes.Experiments.Benchmarks;
using ResNetNodes.Experiments.Cli;
using TorchSharp;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>What the benchmark and its single points share.</summary>
internal abstract class BenchOptions : CommonOptions
{
    [Option('d', "depths", MetaValue = "N,N,...", HelpText = "Residual functions (default: 16,64,256; bottleneck 16,32).")]
    [Section("model")]
    [MayChange]
    public string? Depths { get; set; }

    [Option('p', "planes", MetaValue = "C,C,...", HelpText = "Channels of the state (default: tiny 16,64; bottleneck 256; linear's width 500).")]
    [Section("model")]
    [MayChange]
    public string? Planes { get; set; }

    [Option('n', "network", Default = "tiny,bottleneck,linear", MetaValue = "tiny|bottleneck|linear,...", HelpText = "TinyResNet; 14×14 maps with ReLU–conv1×1–BN–ReLU–conv3×3–BN–ReLU–conv1×1–BN; one shared Linear–tanh–Linear of 8 hidden.")]
    [Section("model")]
    [MayChange]
    public string Network { get; set; } = "tiny,bottleneck,linear";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stage.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('m', "methods", MetaValue = "METHOD,...", HelpText = "torchsharp-backprop, torchsharp-channels-last, torchsharp-checkpoint, callback-inverse, or a reconstruction (default: all).")]
    [Section("method")]
    public string? Methods { get; set; }

    [Option('b', "batch", MetaValue = "B", HelpText = "Images or rows a step (default: tiny 128, bottleneck 16, linear 500).")]
    [Section("training")]
    public string? Batch { get; set; }

    protected BenchRun ReadRun(int? rounds)
    {
        var solver = Read.Choice<Solver>("solver", SolverName);
        var methods = (Methods ?? BenchMethod.All).Split(',').Select(m => BenchMethod.Parse(m, solver)).Distinct().ToList();
        return new BenchRun(methods, rounds, SeedNumber);
    }

    protected List<BenchNetwork> ReadNetworks(BenchRun run)
    {
        var names = Network.Split(',').Select(n => Read.OneOf("network", n.Trim(), BenchNetwork.Names)).Distinct().ToList();
        var least = run.Methods[0].Options.Solver == Solver.Heun ? 2 : 1;
        var networks = names.SelectMany(name => Read.Wholes("planes", Planes ?? BenchNetwork.Defaults(name).Planes, name == "bottleneck" ? 4 : 1).SelectMany(planes =>
            Read.Wholes("depths", Depths ?? BenchNetwork.Defaults(name).Depths, least).Select(depth =>
                new BenchNetwork(name, planes, depth, Read.Whole("batch", Batch ?? BenchNetwork.Defaults(name).Batch, 2))))).ToList();
        if (Methods is not null && networks.FirstOrDefault(n => run.Methods.Any(m => !m.Fits(n))) is { } misfit)
        {
            throw new UsageException($"--methods: torchsharp-channels-last needs images; the states of {misfit.Name} have no channels");
        }

        if (FindDevice().type != DeviceType.CPU)
        {
            throw new UsageException($"{StrictArguments.NameOf(GetType())} measures the CPU; --device may be cpu alone");
        }

        return networks;
    }
}
