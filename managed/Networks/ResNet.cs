using ResNetNodes.Planning;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Networks;

/// <summary>
/// ImageNet-style networks of four stages (paper, figures 3a and 3b, table 2). Each stage is one block that changes the shape,
/// followed by a residual stage of blocks − 1 functions, h = 1/(blocks − 1), or 1 as torchvision has it. Input [B, 3, H, W], output
/// [B, classes].
/// </summary>
public sealed class ResNet : nn.Module<Tensor, Tensor>, INetworkOfParts
{
    private readonly Sequential stem;
    private readonly ModuleList<ResidualBlock> blocks;
    private readonly List<ResidualStage?> stages = [];
    private readonly AdaptiveAvgPool2d pool;
    private readonly Linear head;
    // What runs, in order. Not registered: their modules are, by the names that they have without.
    private readonly List<(string Name, nn.Module<Tensor, Tensor> Module)> parts = [];

    /// <summary>Builds the network.</summary>
    /// <param name="options">Its options.</param>
    /// <exception cref="ArgumentException">A number below 1, or stage options that are invalid, alone or for this kind.</exception>
    public ResNet(ResNetOptions options)
        : base(nameof(ResNet))
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Planes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Classes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.InputChannels, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.AdjointFrom, 1);
        if (options.MemoryBudget is not null && options.Recompute is not null)
        {
            throw new ArgumentException(
                "Recompute is the plan's to decide where there is a MemoryBudget; leave one of them out", nameof(options));
        }

        RequireEulerOfStepOne(options);
        Options = options;
        using var weights = options.Seed is { } seed ? new RandomNumbers(seed).TorchScope() : null;

        stem = Stem(options);
        var firsts = new List<ResidualBlock>();
        var channels = options.Planes;
        for (var s = 0; s < options.Size.Blocks.Count; s++)
        {
            var planes = options.Planes << s;
            firsts.Add(ResidualFunctions.FirstBlock(channels, planes, options.Size.Bottleneck, s == 0 ? 1 : 2, options.ZeroInitResidual));
            channels = planes * options.Size.Expansion;
            stages.Add(MakeStage(options, channels, planes, options.Size.Blocks[s] - 1));
        }

        blocks = new ModuleList<ResidualBlock>([.. firsts]);
        pool = nn.AdaptiveAvgPool2d(1);
        head = nn.Linear(channels, options.Classes);
        RegisterComponents();
        for (var s = 0; s < stages.Count; s++)
        {
            if (stages[s] is { } stage)
            {
                register_module($"stage{s + 1}", stage);
            }
        }

        JoinParts();
        Planner = options.MemoryBudget is { } budget ? new MemoryPlanner(parts, budget) : null;
    }

    /// <summary>The options it was built with. Those of its stages may have changed since.</summary>
    public ResNetOptions Options { get; }

    /// <summary>The residual stages in order; null for a stage that is only its first block.</summary>
    public IReadOnlyList<ResidualStage?> Stages => stages;

    /// <summary>What runs, in order: stem, first block and residual stage of each of the four stages, head.</summary>
    public IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> Parts => parts;

    /// <summary>Who plans its training steps; null without <see cref="ResNetOptions.MemoryBudget"/>.</summary>
    public MemoryPlanner? Planner { get; }

    /// <summary>Class scores.</summary>
    /// <param name="input">Images [B, channels, H, W].</param>
    /// <returns>Scores [B, classes].</returns>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        var state = MemoryLayout.ChannelsLast(input);
        if (Planner is not null && is_grad_enabled())
        {
            Planner.Prepare(state);
        }

        foreach (var (_, module) in parts)
        {
            state = module.call(state);
        }

        return state.MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            parts.Select(part => part.Module).OfType<Recomputed>().ToList().ForEach(part => part.Dispose());
        }

        base.Dispose(disposing);
    }

    /// <inheritdoc/>
    void INetworkOfParts.MakeStages()
    {
        for (var i = 0; i < parts.Count; i++)
        {
            if (parts[i].Module is not (Recomputed or ResidualStage))
            {
                parts[i] = (parts[i].Name, new Recomputed(parts[i].Module, RecomputedOptions.Beside(Options.Stage) with { Stored = true }));
            }
        }
    }

    // Stem; first block and residual stage of each of the four; head. What an ODE network rectifies between them goes with the next.
    private void JoinParts()
    {
        var stores = stages.Any(s => s is not null)
            ? stages.Any(s => s?.Options.Reconstruction == Reconstruction.Backprop)
            : Options.Stage.Reconstruction == Reconstruction.Backprop;
        var recomputes = Options.Recompute ?? (Options.MemoryBudget is not null || !stores);
        var given = RecomputedOptions.Beside(Options.Stage);
        // In mixed precision a part's evaluation is the engine's, whether it stores or not.
        nn.Module<Tensor, Tensor> Part(nn.Module<Tensor, Tensor> module) =>
            recomputes || given.ComputeType != ComputeType.SameAsState
                ? new Recomputed(module, given with { Stored = !recomputes })
                : module;
        nn.Module<Tensor, Tensor> Rectified(params nn.Module<Tensor, Tensor>[] modules) =>
            nn.Sequential(Options.Kind is ResNetKind.Ordinary or ResNetKind.Torchvision ? modules : [nn.ReLU(), .. modules]);

        parts.Add(("stem", Part(stem)));
        for (var s = 0; s < stages.Count; s++)
        {
            parts.Add(($"block{s + 1}", Part(s == 0 ? blocks[s] : Rectified(blocks[s]))));
            if (stages[s] is { } stage)
            {
                parts.Add(($"stage{s + 1}", stage));
            }
        }

        parts.Add(("head", Part(Rectified(pool, nn.Flatten(), head))));
    }

    // Another recursion would be another network than the one whose weights it takes.
    private static void RequireEulerOfStepOne(ResNetOptions options)
    {
        var (solver, step) = (options.Stage.Solver, options.Stage.StepSize);
        if (options.Kind == ResNetKind.Torchvision && (solver != Solver.Euler || step is not (null or 1)))
        {
            throw new ArgumentException(
                $"a torchvision network adds its branches as they are: solver euler and step size 1, not {solver} and {step ?? 1}; for "
                + "other recursions take another kind",
                nameof(options));
        }
    }

    private static Sequential Stem(ResNetOptions options)
    {
        var large = options.HasImageNetStem;
        var layers = new List<(string, nn.Module<Tensor, Tensor>)>
        {
            ("conv", ResidualFunctions.Convolution(options.InputChannels, options.Planes, large ? 7 : 3, large ? 2 : 1)),
            ("norm", nn.BatchNorm2d(options.Planes)),
            ("relu", nn.ReLU()),
        };
        if (large)
        {
            layers.Add(("pool", nn.MaxPool2d(3, stride: 2, padding: 1)));
        }

        return nn.Sequential(layers);
    }

    private static ResidualStage? MakeStage(ResNetOptions options, int channels, int planes, int depth)
    {
        if (depth == 0)
        {
            return null;
        }

        var stage = depth >= options.AdjointFrom ? options.Stage : options.Stage with { Reconstruction = Reconstruction.Backprop };
        stage = options.Kind == ResNetKind.Torchvision ? stage with { StepSize = 1 } : stage;
        nn.Module<Tensor, Tensor> Function() => ResidualFunctions.Of(options, channels, planes);
        return options.Kind == ResNetKind.Tied
            ? ResidualStage.Shared(Function(), depth, stage)
            : new ResidualStage(Enumerable.Range(0, depth).Select(_ => Function()), stage);
    }
}
