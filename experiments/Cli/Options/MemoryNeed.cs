using System.Globalization;
using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>What networks are trained with, as far as their memory depends on it.</summary>
/// <param name="Device">Where they are.</param>
/// <param name="Images">Images in a step.</param>
/// <param name="Pixels">Rows and columns of an image.</param>
/// <param name="Copies">Tensors of the weights' size: the weights, their gradients, what the optimizer keeps, their average.</param>
internal sealed record Workload(Device Device, int Images, int Pixels, int Copies)
{
    /// <summary>That of a training; a batch is no larger than its data set.</summary>
    public static Workload Of(TrainingOptions options, int batch, ImageDataset images, int pixels) =>
        new(
            options.Device, Math.Min(batch, images.Count), pixels,
            2 + (options.Optimizer.Copies ?? 0) + (options.AverageDecay is null ? 0 : 1));
}

/// <summary>
/// Memory that a run is sure to need, told before any of it is taken. A lower bound: what is refused fits in no case, and what is not
/// refused may still not fit.
/// </summary>
internal static class MemoryNeed
{
    /// <summary>Bytes of a number of weights, states and images.</summary>
    public const int Float = 4;

    // Modules and tensors of a residual function, whatever its width; a TinyResNet's was measured to take 52 KB.
    private const double FunctionBytes = 1 << 15;

    /// <summary>Refuses what does not fit.</summary>
    /// <param name="given">The options that ask for it, as they were given.</param>
    /// <param name="need">What needs it, and the verb.</param>
    /// <param name="bytes">How much, at least.</param>
    /// <param name="remedy">What to take instead.</param>
    public static void Require(string given, string need, double bytes, string remedy)
    {
        if (bytes > MachineMemory.Available)
        {
            throw new UsageException(
                $"{given}: {need} at least {Shown(bytes)}, this machine has {Shown(MachineMemory.Available)}; take {remedy}");
        }
    }

    /// <summary>Refuses a TinyResNet that does not fit.</summary>
    /// <param name="option">The option that its depth is of.</param>
    /// <param name="network">Its options.</param>
    /// <param name="load">What it is trained with.</param>
    public static void Require(string option, TinyResNetOptions network, Workload load)
    {
        const int side = 10;
        RequireWeights(
            $"--{option} is {network.Depth} and --planes {network.Planes}", ParameterCounts.Of(network), network.Depth, load,
            $"a smaller --{option} or --planes");
        RequireStates(
            $"--batch is {load.Images} and --{option} {network.Depth}", $"--batch or --{option}", network.Stage, load,
            (double)network.Planes * side * side, network.Depth);
    }

    /// <summary>Refuses a network of four stages that does not fit.</summary>
    /// <param name="option">The option that its size is of.</param>
    /// <param name="value">What the option was given.</param>
    /// <param name="network">Its options.</param>
    /// <param name="load">What it is trained with.</param>
    public static void Require(string option, string value, ResNetOptions network, Workload load)
    {
        var (blocks, isTied) = (network.Size.Blocks, network.Kind == ResNetKind.Tied);
        RequireWeights(
            $"--{option} is {value} and --planes {network.Planes}", ParameterCounts.Of(network),
            isTied ? 0 : blocks.Sum(b => b - 1.0), load, $"a smaller --{option} or --planes");

        // A stage has twice the channels of the one before, and a quarter of its pixels: a state half as large.
        var side = Math.Floor(load.Pixels / (network.HasImageNetStem ? 4.0 : 1));
        var first = side * side * network.Planes * network.Size.Expansion;
        RequireStates(
            $"--batch is {load.Images} and --{option} {value}", $"--batch or --{option}", network.Stage, load, first,
            blocks.Index().Sum(b => (b.Item - 1.0) / (1 << b.Index)));
    }

    /// <summary>Refuses weights that do not fit.</summary>
    /// <param name="given">The options that they depend on.</param>
    /// <param name="parameters">How many there are.</param>
    /// <param name="functions">Residual functions that are built.</param>
    /// <param name="load">What they are trained with.</param>
    /// <param name="remedy">What to take instead.</param>
    public static void RequireWeights(string given, double parameters, double functions, Workload load, string remedy)
    {
        // With a GPU only the weights are known to be on the host, where they are made.
        var copies = IsHost(load) ? load.Copies : 1;
        var tensors = copies switch
        {
            1 => "weights",
            2 => "weights and gradients",
            3 => "weights, gradients and momentum",
            _ => "weights, gradients, means of gradients and average",
        };
        Require(
            given, $"the network needs for its {tensors}", (copies * Float * parameters) + (functions * FunctionBytes), remedy);
    }

    /// <summary>Refuses a batch whose images and states do not fit.</summary>
    /// <param name="given">The options that states depend on.</param>
    /// <param name="smaller">Their names.</param>
    /// <param name="stage">Reconstruction and number type.</param>
    /// <param name="load">Images.</param>
    /// <param name="state">Numbers of a state of one image.</param>
    /// <param name="functions">Functions of the stage: backprop stores what each of them was given.</param>
    public static void RequireStates(
        string given, string smaller, StageOptions stage, Workload load, double state, double functions)
    {
        if (IsHost(load))
        {
            var stores = stage.Reconstruction == Reconstruction.Backprop && functions > 1;
            var bytes = stage.ComputeType == ComputeType.BFloat16 ? Float / 2 : Float;
            var image = (3.0 * load.Pixels * load.Pixels * Float) + (state * (stores ? functions : 1) * bytes);
            Require(
                given, stores ? "the states that backprop stores need" : "a batch and one state need", load.Images * image,
                $"a smaller {smaller}" + (stores ? ", or adaptive, which stores few states" : string.Empty));
        }
    }

    private static bool IsHost(Workload load) => load.Device.type == DeviceType.CPU;

    private static string Shown(double bytes) => (bytes / (1 << 30)).ToString("N1", CultureInfo.InvariantCulture) + " GiB";
}
