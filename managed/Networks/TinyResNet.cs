using ResNetNodes.Planning;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Networks;

/// <summary>The options of a <see cref="TinyResNet"/>.</summary>
public sealed record TinyResNetOptions
{
    /// <summary>Residual functions N, at least 1.</summary>
    public int Depth { get; init; } = 16;

    /// <summary>Channels C of the stage.</summary>
    public int Planes { get; init; } = 16;

    /// <summary>Classes.</summary>
    public int Classes { get; init; } = 10;

    /// <summary>Channels of the images.</summary>
    public int InputChannels { get; init; } = 3;

    /// <summary>Start the last batch normalization of each function with weight 0: every function starts as 0.</summary>
    public bool ZeroInit { get; init; } = true;

    /// <summary>
    /// Bytes that a training step may take beyond rest, as <see cref="ResNetOptions.MemoryBudget"/> has it. Null: no plan.
    /// </summary>
    public long? MemoryBudget { get; init; }

    /// <summary>How the stage is integrated and differentiated.</summary>
    public StageOptions Stage { get; init; } = new();

    /// <summary>Seed of the initial weights. LibTorch's global generator is not moved then; null draws the weights from it.</summary>
    public long? Seed { get; init; }
}

/// <summary>
/// The network of the paper's figures 3c and 4: conv 5×5 stride 3, batch normalization, ReLU; a residual stage on C channels;
/// average pooling 4; a linear head. Input [B, 3, 32, 32] (the stage then works on 10×10 maps), output [B, classes].
/// </summary>
public sealed class TinyResNet : nn.Module<Tensor, Tensor>, INetworkOfParts
{
    private readonly Sequential stem;
    private readonly ResidualStage stage;
    private readonly AvgPool2d pool;
    private readonly Linear head;
    // With a budget: what runs, in order. Not registered, as in ResNet.
    private (string Name, nn.Module<Tensor, Tensor> Module)[] parts = [];

    /// <summary>Builds the network.</summary>
    /// <param name="options">Its options.</param>
    /// <exception cref="ArgumentException">A number below 1, or invalid stage options.</exception>
    public TinyResNet(TinyResNetOptions options)
        : base(nameof(TinyResNet))
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Depth, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Planes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Classes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.InputChannels, 1);
        Options = options;
        using var weights = options.Seed is { } seed ? new RandomNumbers(seed).TorchScope() : null;

        var planes = options.Planes;
        stem = nn.Sequential(
            ("conv", nn.Conv2d(options.InputChannels, planes, 5, stride: 3, padding: 1, bias: false)),
            ("norm", nn.BatchNorm2d(planes)),
            ("relu", nn.ReLU()));
        stage = new ResidualStage(Enumerable.Range(0, options.Depth).Select(_ => Function(planes, options.ZeroInit)), options.Stage);
        pool = nn.AvgPool2d(4);
        head = nn.Linear(4 * planes, options.Classes);
        RegisterComponents();
        if (options.MemoryBudget is { } budget)
        {
            JoinParts(stores: false);
            Planner = new MemoryPlanner(parts, budget);
        }
    }

    /// <summary>The residual stage.</summary>
    public ResidualStage Stage => stage;

    /// <summary>The options it was built with. Those of the stage may have changed since.</summary>
    public TinyResNetOptions Options { get; }

    /// <summary>Who plans its training steps; null without <see cref="TinyResNetOptions.MemoryBudget"/>.</summary>
    public MemoryPlanner? Planner { get; }

    /// <inheritdoc/>
    IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> INetworkOfParts.Parts => parts;

    /// <summary>Class scores.</summary>
    /// <param name="input">Images [B, channels, 32, 32].</param>
    /// <returns>Scores [B, classes].</returns>
    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        if (parts.Length > 0)
        {
            return InParts(MemoryLayout.ChannelsLast(input)).MoveToOuterDisposeScope();
        }

        using var first = stem.call(input);
        var state = stage.call(MemoryLayout.ChannelsLast(first));
        return head.call(pool.call(state).flatten(1)).MoveToOuterDisposeScope();
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
        if (parts.Length == 0)
        {
            JoinParts(stores: true);
        }
    }

    private void JoinParts(bool stores)
    {
        // In float32, as without parts.
        var given = RecomputedOptions.Beside(Options.Stage) with { ComputeType = ComputeType.SameAsState, Stored = stores };
        var end = new Recomputed(nn.Sequential(pool, nn.Flatten(), head), given);
        parts = [("stem", new Recomputed(stem, given)), ("stage", stage), ("head", end)];
    }

    private Tensor InParts(Tensor state)
    {
        if (is_grad_enabled())
        {
            Planner?.Prepare(state);
        }

        return parts.Aggregate(state, (given, part) => part.Module.call(given));
    }

    private static Sequential Function(int planes, bool zeroInit)
    {
        var last = nn.BatchNorm2d(planes);
        if (zeroInit)
        {
            nn.init.zeros_(last.weight);
        }

        return nn.Sequential(
            ("conv1", nn.Conv2d(planes, planes, 3, padding: 1)),
            ("norm1", nn.BatchNorm2d(planes)),
            ("relu", nn.ReLU()),
            ("conv2", nn.Conv2d(planes, planes, 3, padding: 1)),
            ("norm2", last));
    }
}
