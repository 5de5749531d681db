using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What is trained: a network, its width and its depth, on random data.</summary>
/// <param name="Name">tiny, bottleneck or linear.</param>
/// <param name="Planes">Channels of the stage's state (linear: its width).</param>
/// <param name="Depth">Residual functions, or uses of the one function of linear.</param>
/// <param name="Batch">Images, or rows of linear's input.</param>
internal sealed record BenchNetwork(string Name, int Planes, int Depth, int Batch)
{
    public const int Hidden = 8;
    private const int Classes = 10, MapSide = 14;

    public static readonly IReadOnlyList<string> Names = ["tiny", "bottleneck", "linear"];

    /// <summary>What is measured where nothing else is asked for.</summary>
    public static (string Planes, string Depths, string Batch) Defaults(string name) => name switch
    {
        "tiny" => ("16,64", "16,64,256", "128"),
        "bottleneck" => ("256", "16,32", "16"),
        _ => ("500", "16,64,256", "500"),
    };

    /// <summary>Whether the states are images, which can be laid out channels last.</summary>
    public bool HasChannels => Name != "linear";

    /// <summary>Positions that each weight of a function is used at, in one evaluation.</summary>
    private long Positions => Batch * (Name switch { "tiny" => 100L, "bottleneck" => MapSide * MapSide, _ => 1 });

    public override string ToString() => $"{Name}, {Planes} planes, depth {Depth}";

    /// <summary>Modules with fresh weights.</summary>
    public BenchParts Build(StageOptions options)
    {
        switch (Name)
        {
            case "tiny":
                // The last batch normalization of weight 1: functions that are 0 would make every reconstruction exact.
                var model = new TinyResNet(new TinyResNetOptions { Depth = Depth, Planes = Planes, ZeroInit = false, Stage = options });
                var parts = model.named_children().ToDictionary(child => child.name, child => child.module);
                return new BenchParts(model, model.Stage, (nn.Module<Tensor, Tensor>)parts["stem"], state =>
                {
                    using var pooled = ((nn.Module<Tensor, Tensor>)parts["pool"]).call(state);
                    using var flat = pooled.flatten(1);
                    return ((nn.Module<Tensor, Tensor>)parts["head"]).call(flat);
                });
            case "bottleneck":
                var stage = new ResidualStage(Enumerable.Range(0, Depth).Select(_ => Bottleneck()), options);
                return new BenchParts(stage, stage, null, null);
            default:
                var function = nn.Sequential(nn.Linear(Planes, Hidden), nn.Tanh(), nn.Linear(Hidden, Planes));
                var shared = ResidualStage.Shared(function, Depth, options);
                return new BenchParts(shared, shared, null, null);
        }
    }

    /// <summary>Refuses a network whose trials, one a method at the same time, do not fit into memory.</summary>
    public void Check(IReadOnlyList<BenchMethod> methods)
    {
        var own = methods.Where(m => m.Fits(this)).ToList();
        var (planes, hidden) = ((double)Planes, Math.Floor(Planes / 4.0));
        var tiny = new TinyResNetOptions { Depth = Depth, Planes = Planes };
        var (parameters, functions) = Name switch
        {
            "tiny" => (ParameterCounts.Of(tiny), Depth),
            // Convolutions with their biases, normalizations behind them.
            "bottleneck" => (Depth * ((2 * planes * hidden) + (9 * hidden * hidden) + (6 * hidden) + (3 * planes)), Depth),
            _ => ((2 * planes * Hidden) + planes + Hidden, 0),
        };
        var load = new Workload(CPU, Batch, Name == "tiny" ? 32 : 0, 2);
        MemoryNeed.RequireWeights(
            $"--depths is {Depth} and --planes {Planes}, {own.Count} methods", own.Count * parameters, (double)own.Count * functions, load,
            "a smaller --depths or --planes, or fewer --methods");
        var state = planes * (Name switch { "tiny" => 100, "bottleneck" => MapSide * MapSide, _ => 1 });
        foreach (var method in own)
        {
            MemoryNeed.RequireStates(
                $"--batch is {Batch} and --depths {Depth}", "--batch or --depths", method.Options, load, state, Depth);
        }
    }

    /// <summary>Random input and, for tiny, random labels.</summary>
    public (Tensor Input, Tensor? Labels) Data() => Name switch
    {
        "tiny" => (randn(Batch, 3, 32, 32), randint(0, Classes, Batch, ScalarType.Int64)),
        "bottleneck" => (randn(Batch, Planes, MapSide, MapSide), null),
        _ => (randn(Batch, Planes), null),
    };

    /// <summary>Multiplications and additions of convolutions and linear layers in a training step.</summary>
    /// <param name="parts">The network.</param>
    /// <param name="evaluations">Evaluations of residual functions in the forward pass.</param>
    /// <param name="reevaluations">Evaluations of residual functions on the way back.</param>
    public double Operations(BenchParts parts, int evaluations, double reevaluations)
    {
        static long Weights(IEnumerable<nn.Module> modules) =>
            modules.SelectMany(m => m.parameters()).Where(p => p.dim() > 1).Sum(p => p.numel());
        var evaluation = 2.0 * Positions * Weights(parts.Functions) / parts.Functions.Count;
        // The stem has a forward pass and a product with its weights; the head also one with its input.
        var (stem, head) = (2 * 2.0 * Positions, 3 * 2.0 * Batch * 4 * Planes * Classes);
        var ends = parts.Stem is null ? 0 : (stem * Weights([parts.Stem])) + head;
        return ends + (evaluation * ((3 * evaluations) + reevaluations));
    }

    private nn.Module<Tensor, Tensor> Bottleneck()
    {
        var hidden = Planes / 4;
        return nn.Sequential(
            nn.ReLU(), nn.Conv2d(Planes, hidden, 1), nn.BatchNorm2d(hidden),
            nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding: 1), nn.BatchNorm2d(hidden),
            nn.ReLU(), nn.Conv2d(hidden, Planes, 1), nn.BatchNorm2d(Planes));
    }
}

/// <summary>A network's modules: those of the peers' loops are the stage's own.</summary>
internal sealed class BenchParts(
    nn.Module owner, ResidualStage stage, nn.Module<Tensor, Tensor>? stem, Func<Tensor, Tensor>? head) : IDisposable
{
    public nn.Module Owner => owner;

    public ResidualStage Stage => stage;

    public nn.Module<Tensor, Tensor>? Stem => stem;

    public IReadOnlyList<nn.Module<Tensor, Tensor>> Functions { get; } =
        [.. stage.Functions.Cast<nn.Module<Tensor, Tensor>>()];

    public Tensor Loss(Tensor state, Tensor? labels)
    {
        if (head is null)
        {
            using var squares = state.pow(2);
            return squares.mean();
        }

        using var scores = head(state);
        return nn.functional.cross_entropy(scores, labels!);
    }

    public void Dispose() => owner.Dispose();
}
