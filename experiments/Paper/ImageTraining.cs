using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>A verb that takes training steps with a network of any kind, on images.</summary>
internal abstract class ImageTraining : Experiment
{
    public DepthGroup Depth { get; } = new();

    public NetworkGroup Network { get; } = new("tiny", "resnet", "ode", "tied", "torchvision");

    public SizeGroup Size { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    public ReconstructionGroup Reconstruction { get; } = new();

    public AdjointFromGroup AdjointFrom { get; } = new();

    public MemoryGroup Memory { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public BatchGroup Batch { get; } = new();

    public ImagesGroup Images { get; } = new();

    public InitGroup Init { get; } = new();

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    [Option("stage-rate-factor", Default = "1", MetaValue = "F", HelpText =
        "Multiplies the learning rate of the stages' parameters (the paper's 'adaptive' option: the depth).")]
    [Section("training")]
    public string StageRateFactor { get => Given(); set => Set(value); }

    /// <summary>How its stages are differentiated.</summary>
    protected StageOptions Stage => Execution.On(new StageOptions { Solver = Solver.Value, Reconstruction = Reconstruction.Value });

    /// <summary>The kind of the network; options that it does not have are refused.</summary>
    protected string KnownNetwork()
    {
        var network = Network.Name;
        if (network == "tiny")
        {
            Unused("size", "--network tiny has a --depth");
            Unused("adjoint-from", "--network tiny has one stage");
        }
        else
        {
            Unused("depth", $"--network {network} has a --size");
        }

        return network;
    }

    /// <summary>Training options with those of a step.</summary>
    /// <param name="options">The others.</param>
    /// <param name="step">The verb's group.</param>
    protected TrainingOptions TrainingOf(TrainingOptions options, StepGroup step) => step.On(options, Seed.Number) with
    {
        StageRateFactor = Read.Number("stage-rate-factor", StageRateFactor),
    };

    /// <summary>Tells how memory is planned and functions are evaluated.</summary>
    protected void ShowMethods(Terminal terminal, IReadOnlyList<ResidualStage> stages)
    {
        Memory.Show(terminal);
        terminal.Detail(() => string.Join(
            Environment.NewLine, stages.Select((s, i) => $"stage {i + 1}: execution {s.Execution}, {s.ExecutionReason}")));
    }

    /// <summary>The network with random weights, and its plan where it has a budget.</summary>
    /// <param name="network">Its kind.</param>
    /// <param name="stage">How its stages are differentiated.</param>
    /// <param name="classes">Of the images.</param>
    /// <param name="load">What it is trained with.</param>
    protected nn.Module<Tensor, Tensor> Build(string network, StageOptions stage, int classes, Workload load)
    {
        var planes = Planes.Of(network);
        if (network == "tiny")
        {
            var tiny = Network.Tiny(Depth.Number, planes, stage, classes, Memory.Bytes);
            NetworkGroup.Check("depth", tiny, load);
            return Planned(NetworkGroup.Build(tiny, Seed.Number));
        }

        var staged = Network.Staged(network, Size.Value, planes, AdjointFrom.Number, stage, classes, Memory.Bytes);
        NetworkGroup.Check("size", staged, load);
        return Planned(NetworkGroup.Build(staged, Seed.Number));

        nn.Module<Tensor, Tensor> Planned(nn.Module<Tensor, Tensor> model)
        {
            Memory.Plan(network, model, load);
            return model;
        }
    }
}
