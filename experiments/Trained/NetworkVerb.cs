using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>A verb about a network that a file describes, or its options.</summary>
internal abstract class NetworkVerb : Computation
{
    [Option("classes", Default = "10", MetaValue = "N", HelpText = "Classes of the network.")]
    [Section("model")]
    public string Classes { get => Given(); set => Set(value); }

    [Option("imagenet-stem", HelpText = "The stem is that for ImageNet, of 7×7 pixels [true for 1000 classes].")]
    [Section("model")]
    public bool? ImageNetStem { get => Switch(); set => Set(value); }

    public NetworkGroup Network { get; } = new("tiny", "resnet", "ode", "tied");

    public DepthGroup Depth { get; } = new();

    public SizeGroup Size { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    /// <summary>Refuses the options of a network that a file describes.</summary>
    /// <param name="file">The file.</param>
    /// <param name="others">Options of the verb that say something about the network too.</param>
    protected void RefuseOptions(string file, params IReadOnlyList<string> others)
    {
        foreach (
            var option in (string[])
                ["network", "depth", "size", "planes", "solver", "classes", "imagenet-stem", "zero-init", .. others])
        {
            Unused(option, $"{file} says which network it holds");
        }
    }

    /// <summary>The network of the options.</summary>
    /// <param name="stage">How its stages are differentiated, and in which precision.</param>
    /// <param name="load">What it has to have memory for.</param>
    protected nn.Module<Tensor, Tensor> Built(StageOptions stage, Workload load)
    {
        var kind = Network.Name;
        Unused(kind == "tiny" ? "size" : "depth", $"--network {kind} has a --{(kind == "tiny" ? "depth" : "size")}");
        var classes = Read.Whole("classes", Classes);
        stage = stage with { Solver = Solver.Value };
        if (kind == "tiny")
        {
            Unused("imagenet-stem", "--network tiny has a stem of its own");
            var tiny = Network.Tiny(Depth.Number, Planes.Of(kind), stage, classes);
            NetworkGroup.Check("depth", tiny, load);
            return NetworkGroup.Build(tiny, 0);
        }

        var staged = Network.Staged(kind, Size.Value, Planes.Of(kind), 1, stage, classes) with { ImageNetStem = ImageNetStem };
        NetworkGroup.Check("size", staged, load);
        return NetworkGroup.Build(staged, 0);
    }
}
