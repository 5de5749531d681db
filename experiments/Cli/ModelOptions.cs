using CommandLine;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Options of verbs that train networks on images.</summary>
internal abstract class ModelOptions : ImageOptions
{
    [Option('n', "network", Default = "tiny", MetaValue = "tiny|resnet|ode|tied", HelpText = "TinyResNet (figures 3c and 4), or a ResNet of four stages: ordinary, ODE, or with tied weights.")]
    [Section("model")]
    public string Network { get; set; } = "tiny";

    [Option("size", Default = "18", MetaValue = "18|34|50|101|152|auto:N|custom:A+B+C+D", HelpText = "Blocks of a network of four stages (custom-basic: for basic blocks).")]
    [Section("model")]
    public string Size { get; set; } = "18";

    [Option('p', "planes", MetaValue = "C", HelpText = "Channels of TinyResNet's stage [16], or planes of the first of four stages [64].")]
    [Section("model")]
    public string? Planes { get; set; }

    [Option("zero-init", HelpText = "Start every residual function as 0, by the weight of its last batch normalization [true for tiny, false for others].")]
    [Section("model")]
    public bool? ZeroInit { get; set; }

    [Option("adjoint-from", Default = "1", MetaValue = "N", HelpText = "Stages of fewer functions store their states (networks of four stages; the paper's code: 11).")]
    [Section("method")]
    public string AdjointFrom { get; set; } = "1";

    [Option("execution", Default = "auto", MetaValue = "auto|layers|callback", HelpText = "Residual functions as native layers, or by calling the modules.")]
    [Section("method")]
    public string Execution { get; set; } = "auto";

    [Option("precision", Default = "float32", MetaValue = "float32|bfloat16", HelpText = "What residual functions are evaluated in; states, parameters and gradients are float32.")]
    [Section("method")]
    public string Precision { get; set; } = "float32";

    [Option("cuda-graphs", HelpText = "Record the passes of native layers as CUDA graphs (--device cuda; not yet run on a GPU).")]
    [Section("method")]
    public bool? CudaGraphs { get; set; }

    [Option("checkpoint-on-failure", HelpText = "Go on with stored states once a step could not be reconstructed.")]
    [Section("method")]
    public bool? CheckpointOnFailure { get; set; }

    [Option('l', "lr", Default = "0.1", MetaValue = "RATE", HelpText = "First learning rate of SGD.")]
    [Section("training")]
    public string Rate { get; set; } = "0.1";

    [Option("momentum", Default = "0.9", MetaValue = "M", HelpText = "SGD's momentum.")]
    [Section("training")]
    public string Momentum { get; set; } = "0.9";

    [Option("weight-decay", Default = "5e-4", MetaValue = "D", HelpText = "SGD's weight decay.")]
    [Section("training")]
    public string WeightDecay { get; set; } = "5e-4";

    protected override string Chosen => $", functions in {Precision}";

    /// <summary>How networks are trained, as far as all verbs have it.</summary>
    protected TrainingOptions Optimization() => new()
    {
        LearningRate = Read.Number("lr", Rate, 0, aboveLeast: true),
        Momentum = Read.Number("momentum", Momentum, 0),
        WeightDecay = Read.Number("weight-decay", WeightDecay, 0),
        Device = FindDevice(),
    };

    /// <summary>The device, if the options go with it.</summary>
    protected override Device FindDevice()
    {
        if (Is(CudaGraphs) && Execution == "callback")
        {
            throw new UsageException("--cuda-graphs needs native layers; leave --execution callback out");
        }

        var device = base.FindDevice();
        return !Is(CudaGraphs) || device.type == DeviceType.CUDA ? device : throw new UsageException($"--cuda-graphs needs --device cuda, it is {device}");
    }

    protected int PlanesOf(string network) => Planes is null ? (network == "tiny" ? 16 : 64) : Read.Whole("planes", Planes, 1);

    /// <summary>A network.</summary>
    /// <param name="network">tiny, resnet, ode or tied.</param>
    /// <param name="depth">Of the tiny one.</param>
    /// <param name="size">Of the others.</param>
    /// <param name="stage">How its stages are integrated and differentiated.</param>
    /// <param name="classes">Classes of the images.</param>
    protected nn.Module<Tensor, Tensor> Build(string network, int depth, NetworkSize size, StageOptions stage, int classes)
    {
        Read.OneOf("network", network, "tiny", "resnet", "ode", "tied");
        stage = stage with
        {
            Execution = Read.Choice<StageExecution>("execution", Execution),
            ComputeType = Read.Precision(Precision),
            CudaGraphs = Is(CudaGraphs),
            CheckpointOnFailure = stage.CheckpointOnFailure || Is(CheckpointOnFailure),
            AccumulateGradientsInPlace = true,
        };
        if (stage is { Execution: StageExecution.Callback, ComputeType: ComputeType.BFloat16 })
        {
            throw new UsageException("--precision bfloat16 needs native layers; leave --execution callback out");
        }

        new RandomNumbers(SeedNumber).SeedTorch();
        if (network == "tiny")
        {
            if (Pixels != 32)
            {
                throw new UsageException($"--network tiny works on images of 32×32, these are {Pixels}×{Pixels}; take --image-size 32, or --network ode");
            }

            return new TinyResNet(new TinyResNetOptions
            {
                Depth = depth,
                Planes = PlanesOf(network),
                Classes = classes,
                ZeroInit = ZeroInit ?? true,
                Stage = stage,
            });
        }

        return new ResNet(new ResNetOptions
        {
            Kind = Read.Kind(network),
            Size = size,
            Planes = PlanesOf(network),
            Classes = classes,
            ZeroInitResidual = ZeroInit ?? false,
            AdjointFrom = Read.Whole("adjoint-from", AdjointFrom, 1),
            Stage = stage,
        });
    }

    /// <summary>Refuses an option that was given, by the command line or a configuration, where nothing reads it.</summary>
    protected void Unused(string name, string value, string why)
    {
        var preset = Preset is null ? [] : PresetAttribute.Of(GetType(), Preset);
        var usual = StrictArguments.OptionsOf(GetType()).First(pair => pair.Option.LongName == name).Option.Default as string;
        if (value != usual && !preset.Concat(DefaultsAttribute.Of(GetType())).Contains($"{name}={value}"))
        {
            throw new UsageException($"--{name} is {value}, but {why}");
        }
    }

    protected NetworkSize SizeOf(string text) => Read.Checked("size", text, NetworkSize.Parse);

    /// <summary>The residual stages of a network, in order.</summary>
    protected static IReadOnlyList<ResidualStage> StagesOf(nn.Module network) => [.. network.modules().OfType<ResidualStage>()];
}
