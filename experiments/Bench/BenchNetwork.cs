using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What measured points have in common that lie in one table, and on one line over the depth.</summary>
/// <param name="Network">One of <see cref="BenchNetwork.Names"/>.</param>
/// <param name="Planes">Channels of the state, or of the first of four stages (linear: its width).</param>
/// <param name="Classes">Of networks that end in scores.</param>
/// <param name="Image">Rows and columns of images, where they may be chosen.</param>
/// <param name="Batch">Images or rows.</param>
/// <param name="Precision">Of the residual functions.</param>
/// <param name="TrainSteps">Training of the weights beforehand.</param>
internal sealed record BenchSeries(
    string Network, int Planes, int? Classes, int? Image, int Batch, string Precision, int TrainSteps);

/// <summary>What is trained: a network, its width and its size, on random data.</summary>
/// <param name="Name">One of <see cref="Names"/>.</param>
/// <param name="Planes">Channels of the state, or of the first of four stages (linear: its width).</param>
/// <param name="Batch">Images or rows.</param>
internal abstract record BenchNetwork(string Name, int Planes, int Batch)
{
    public const string Float32 = "float32", Bfloat16 = "bfloat16";

    private static readonly string[] OneStage = ["tiny", "bottleneck", "linear"];

    public static readonly IReadOnlyList<string> Names = [.. OneStage, "resnet", "ode", "tied"];

    /// <summary>Of the residual functions; states, parameters and gradients are float32.</summary>
    public string Precision { get; init; } = Float32;

    /// <summary>Residual functions, or uses of the one function of linear; null for networks of four stages.</summary>
    public int? Depth { get; init; }

    /// <summary>Of networks of four stages.</summary>
    public NetworkSize? Size { get; init; }

    /// <summary>Of networks that end in scores.</summary>
    public int? Classes { get; init; }

    /// <summary>Rows and columns of an image, where they may be chosen.</summary>
    public int? Image { get; init; }

    /// <summary>Whether the states are images, which can be laid out channels last.</summary>
    public virtual bool HasChannels => true;

    /// <summary>Names the files of a point.</summary>
    public string Key => string.Join('-', ((string?[])
    [
        Name, $"{Planes}", $"{Depth}{Size?.ToString().Replace(':', '_')}", Image is null ? null : $"image{Image}",
        Classes is null ? null : $"classes{Classes}", $"batch{Batch}", Precision,
    ]).Where(part => part is not null));

    /// <summary>Whether networks of the name have four stages: a size and images, and no depth.</summary>
    public static bool IsStaged(string name) => !OneStage.Contains(name);

    /// <summary>Whether networks of the name end in scores.</summary>
    public static bool HasClasses(string name) => name == "tiny" || IsStaged(name);

    /// <summary>What is measured where nothing else is asked for: of lists, all.</summary>
    public static (string Planes, string Depths, string Classes, string Batch) Defaults(string name) => name switch
    {
        "tiny" => ("16,64", "16,64,256", "10", "128"),
        "bottleneck" => ("256", "16,32", string.Empty, "16"),
        "linear" => ("500", "16,64,256", string.Empty, "500"),
        _ => ("64", string.Empty, "1000", "128"),
    };

    /// <summary>The line that a point of the network lies on.</summary>
    public BenchSeries Series(int trainSteps) => new(Name, Planes, Classes, Image, Batch, Precision, trainSteps);

    /// <summary>Modules with fresh weights.</summary>
    /// <param name="options">Of the stages; <see cref="Precision"/> is added.</param>
    public BenchParts Build(StageOptions options) => BuildWith(
        options with { ComputeType = Precision == Bfloat16 ? ComputeType.BFloat16 : ComputeType.SameAsState });

    /// <summary>Random input and, where there are scores, random labels.</summary>
    public abstract (Tensor Input, Tensor? Labels) Data();

    /// <summary>Refuses a network whose trials, one a method at the same time, do not fit into memory.</summary>
    /// <param name="methods">Those that are measured.</param>
    public abstract void Check(IReadOnlyList<BenchMethod> methods);

    public sealed override string ToString() =>
        $"{Name}{(Size is null ? string.Empty : " " + Size)}, {Planes} planes" + (Depth is null ? string.Empty : $", depth {Depth}")
        + (Image is null ? string.Empty : $", {Image}×{Image}, batch {Batch}") + (Precision == Float32 ? string.Empty : ", " + Precision);

    /// <summary>Modules with fresh weights, their stages with exactly these options.</summary>
    protected abstract BenchParts BuildWith(StageOptions options);
}

/// <summary>TinyResNet, on images of 32×32.</summary>
internal sealed record TinyNetwork(int Planes, int Batch) : BenchNetwork("tiny", Planes, Batch)
{
    private const int Pixels = 32, MapSide = 10;

    // The last batch normalization of weight 1: functions that are 0 would make every reconstruction exact.
    private TinyResNetOptions Options =>
        new() { Depth = Depth!.Value, Planes = Planes, Classes = Classes!.Value, ZeroInit = false };

    public override (Tensor Input, Tensor? Labels) Data() =>
        (randn(Batch, 3, Pixels, Pixels), randint(0, Classes!.Value, Batch, ScalarType.Int64));

    public override void Check(IReadOnlyList<BenchMethod> methods) => StageNetwork.Check(
        this, methods, ParameterCounts.Of(Options), Depth!.Value, Pixels, (double)Planes * MapSide * MapSide);

    protected override BenchParts BuildWith(StageOptions options)
    {
        var model = new TinyResNet(Options with { Stage = options });
        var parts = model.named_children().ToDictionary(child => child.name, child => (nn.Module<Tensor, Tensor>)child.module);
        return new BenchParts(model, [parts["stem"], model.Stage, nn.Sequential(parts["pool"], nn.Flatten(), parts["head"])]);
    }
}

/// <summary>A residual stage with nothing around it: bottleneck or linear.</summary>
internal sealed record StageNetwork(string Name, int Planes, int Batch) : BenchNetwork(Name, Planes, Batch)
{
    public const int Hidden = 8;
    private const int MapSide = 14;

    public override bool HasChannels => Name == "bottleneck";

    /// <summary>Refuses a network of one stage whose trials do not fit into memory.</summary>
    /// <param name="network">The network.</param>
    /// <param name="methods">Those that are measured.</param>
    /// <param name="parameters">Numbers that it learns.</param>
    /// <param name="functions">Residual functions that are built.</param>
    /// <param name="pixels">Rows and columns of an image.</param>
    /// <param name="state">Numbers of a state of one image.</param>
    public static void Check(
        BenchNetwork network, IReadOnlyList<BenchMethod> methods, double parameters, double functions, int pixels, double state)
    {
        var load = new Workload(CPU, network.Batch, pixels, 2);
        MemoryNeed.RequireWeights(
            $"--depths is {network.Depth} and --planes {network.Planes}, {methods.Count} methods", methods.Count * parameters,
            methods.Count * functions, load, "a smaller --depths or --planes, or fewer --methods");
        foreach (var method in methods)
        {
            MemoryNeed.RequireStates(
                $"--batch is {network.Batch} and --depths {network.Depth}", "--batch or --depths", method.Options, load, state,
                network.Depth!.Value);
        }
    }

    public override (Tensor Input, Tensor? Labels) Data() =>
        (HasChannels ? randn(Batch, Planes, MapSide, MapSide) : randn(Batch, Planes), null);

    public override void Check(IReadOnlyList<BenchMethod> methods)
    {
        var (planes, inner, depth) = ((double)Planes, Math.Floor(Planes / 4.0), Depth!.Value);
        // Convolutions with their biases, normalizations behind them.
        var (parameters, functions, pixels) = HasChannels
            ? (depth * ((2 * planes * inner) + (9 * inner * inner) + (6 * inner) + (3 * planes)), depth, MapSide * MapSide)
            : ((2 * planes * Hidden) + planes + Hidden, 0, 1);
        Check(this, methods, parameters, functions, 0, planes * pixels);
    }

    protected override BenchParts BuildWith(StageOptions options)
    {
        var stage = HasChannels
            ? new ResidualStage(Enumerable.Range(0, Depth!.Value).Select(_ => Bottleneck()), options)
            : ResidualStage.Shared(
                nn.Sequential(nn.Linear(Planes, Hidden), nn.Tanh(), nn.Linear(Hidden, Planes)), Depth!.Value, options);
        return new BenchParts(stage, [stage]);
    }

    private nn.Module<Tensor, Tensor> Bottleneck()
    {
        var inner = Planes / 4;
        return nn.Sequential(
            nn.ReLU(), nn.Conv2d(Planes, inner, 1), nn.BatchNorm2d(inner),
            nn.ReLU(), nn.Conv2d(inner, inner, 3, padding: 1), nn.BatchNorm2d(inner),
            nn.ReLU(), nn.Conv2d(inner, Planes, 1), nn.BatchNorm2d(Planes));
    }
}

/// <summary>A whole network of four stages: resnet, ode or tied.</summary>
internal sealed record StagedNetwork(string Name, int Planes, int Batch) : BenchNetwork(Name, Planes, Batch)
{
    private ResNetOptions Options => NetworkGroup.StagedOf(Name, Size!, Planes, new StageOptions(), Classes!.Value);

    public override (Tensor Input, Tensor? Labels) Data() =>
        (randn(Batch, 3, Image!.Value, Image.Value), randint(0, Classes!.Value, Batch, ScalarType.Int64));

    public override void Check(IReadOnlyList<BenchMethod> methods)
    {
        var load = new Workload(CPU, Batch, Image!.Value, 2);
        MemoryNeed.RequireWeights(
            $"--size is {Size} and --planes {Planes}, {methods.Count} methods", methods.Count * ParameterCounts.Of(Options), 0, load,
            "a smaller --size or --planes, or fewer --methods");
        foreach (var method in methods)
        {
            NetworkGroup.Check("size", Options with { Stage = method.Options }, load);
        }
    }

    protected override BenchParts BuildWith(StageOptions options)
    {
        var model = new ResNet(Options with { Stage = options });
        return new BenchParts(model, [.. model.Parts.Select(part => part.Module)]);
    }
}
