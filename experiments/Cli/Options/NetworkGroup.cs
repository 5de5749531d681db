using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using ResNetNodes.Planning;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>The kind of a network that is trained on images.</summary>
/// <param name="allowed">The kinds that the verb trains, of tiny, resnet, ode, tied and torchvision.</param>
internal sealed class NetworkGroup(params IReadOnlyList<string> allowed) : OptionGroup
{
    [Option('n', "network", Default = "tiny", MetaValue = "{networks}", HelpText = "{meaning}")]
    [Section("model")]
    public string Text { get => Given(); set => Set(value); }

    [Option("zero-init", HelpText =
        "Start every residual function at 0, its last batch normalization's weight being 0 [true for tiny, false for "
        + "others].")]
    [Section("model")]
    public bool? ZeroInit { get => Switch(); set => Set(value); }

    /// <summary>The checked text.</summary>
    public string Name => Read.OneOf("network", Text, allowed);

    public override string? Placeholder(string name) => name switch
    {
        "networks" => string.Join('|', allowed),
        "meaning" => string.Join("; ", allowed.Select(Meaning)) + ".",
        _ => null,
    };

    public override void Start(Verb verb) => Read.OneOf("network", Peek(nameof(Text))!, allowed);

    /// <summary>The options of a TinyResNet.</summary>
    public TinyResNetOptions Tiny(int depth, int planes, StageOptions stage, int classes, long? memory = null) => new()
    {
        Depth = depth,
        Planes = planes,
        Classes = classes,
        ZeroInit = ZeroInit ?? true,
        MemoryBudget = memory,
        Stage = stage,
    };

    /// <summary>The options of a network of four stages.</summary>
    public ResNetOptions Staged(
        string kind, NetworkSize size, int planes, int adjointFrom, StageOptions stage, int classes, long? memory = null) =>
        StagedOf(kind, size, planes, stage, classes) with
        {
            ZeroInitResidual = ZeroInit ?? false,
            AdjointFrom = adjointFrom,
            MemoryBudget = memory,
        };

    /// <summary>The same where no option says more.</summary>
    public static ResNetOptions StagedOf(string kind, NetworkSize size, int planes, StageOptions stage, int classes) => new()
    {
        Kind = Read.Kind(kind),
        Size = size,
        Planes = planes,
        Classes = classes,
        Stage = stage,
    };

    /// <summary>Refuses a TinyResNet that can't be trained so, before a run has a folder.</summary>
    /// <param name="option">The option that its depth is of.</param>
    /// <param name="options">Its options.</param>
    /// <param name="load">What it is trained with.</param>
    public static void Check(string option, TinyResNetOptions options, Workload load)
    {
        if (load.Pixels != 32)
        {
            throw new UsageException(
                $"--network tiny works on images of 32×32, these are {load.Pixels}×{load.Pixels}; "
                + "take --image-size 32, or --network ode");
        }

        Check(option, options.Stage.Solver, options.Depth);
        MemoryNeed.Require(option, options, load);
    }

    /// <summary>Refuses a network of four stages that can't be trained so, before a run has a folder.</summary>
    /// <param name="option">The option that its size is of.</param>
    /// <param name="options">Its options.</param>
    /// <param name="load">What it is trained with.</param>
    /// <param name="value">What the option was given, where that is not the size itself.</param>
    public static void Check(string option, ResNetOptions options, Workload load, string? value = null)
    {
        if (options.Kind == ResNetKind.Torchvision && options.Stage.Solver != Solver.Euler)
        {
            throw new UsageException(
                $"--network torchvision adds its branches as they are, which is the solver euler and no {options.Stage.Solver}");
        }

        foreach (var blocks in options.Size.Blocks.Where(blocks => blocks > 1))
        {
            Check(option, options.Stage.Solver, blocks - 1);
        }

        MemoryNeed.Require(option, value ?? options.Size.ToString(), options, load);
    }

    /// <summary>Refuses a stage of fewer functions than a step of its solver needs.</summary>
    /// <param name="option">The option that the number of functions is of.</param>
    /// <param name="solver">The solver.</param>
    /// <param name="functions">The functions of the stage.</param>
    public static void Check(string option, Solver solver, int functions)
    {
        try
        {
            _ = solver.StepCount(functions);
        }
        catch (ArgumentException exception)
        {
            throw new UsageException($"--{option}: {exception.Message}");
        }
    }

    /// <summary>The network; LibTorch's generator is seeded first.</summary>
    public static TinyResNet Build(TinyResNetOptions options, long seed)
    {
        new RandomNumbers(seed).SeedTorch();
        return new TinyResNet(options);
    }

    /// <summary>The network; LibTorch's generator is seeded first.</summary>
    public static ResNet Build(ResNetOptions options, long seed)
    {
        new RandomNumbers(seed).SeedTorch();
        return new ResNet(options);
    }

    /// <summary>The residual stages of a network, in order.</summary>
    public static IReadOnlyList<ResidualStage> StagesOf(nn.Module network) => [.. network.modules().OfType<ResidualStage>()];

    /// <summary>Who plans a network's training steps; null where nobody does.</summary>
    public static MemoryPlanner? PlannerOf(nn.Module network) => network switch
    {
        ResNet staged => staged.Planner,
        TinyResNet tiny => tiny.Planner,
        _ => null,
    };

    private static string Meaning(string kind) => kind switch
    {
        "tiny" => "tiny: TinyResNet (figures 3c and 4)",
        "resnet" => "resnet: an ordinary ResNet of four stages",
        "torchvision" => "torchvision: ResNet with its weights' names and a ReLU after every addition (docs/weights.md)",
        "ode" => "ode: an ODE ResNet of four stages",
        _ => "tied: the same with tied weights",
    };
}
