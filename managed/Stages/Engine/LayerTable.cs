using ResNetNodes.Interop;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>A kind of module that the native engine has a layer for: a row of <see cref="LayerTable"/>.</summary>
/// <param name="Name">The module's type, as messages name it.</param>
/// <param name="Kind">The layer.</param>
/// <param name="Matches">Whether a module is one.</param>
/// <param name="Refusal">Why this one can't be the layer all the same; empty where it can.</param>
/// <param name="Fill">Writes what the layer has besides its kind.</param>
/// <param name="Parameters">Weight and bias, as they are now: modules replace theirs in <c>to</c>.</param>
internal sealed record LayerRow(
    string Name,
    LayerKind Kind,
    Func<nn.Module, bool> Matches,
    Func<nn.Module, string> Refusal,
    Action<nn.Module, LayerSpec> Fill,
    Func<nn.Module, Tensor?[]> Parameters)
{
    /// <summary>The module as a layer.</summary>
    public LayerSpec Spec(nn.Module module)
    {
        var spec = new LayerSpec { Kind = Kind };
        Fill(module, spec);
        return spec;
    }
}

/// <summary>The table of modules that the native engine knows; a new layer is a row.</summary>
internal static class LayerTable
{
    public static IReadOnlyList<LayerRow> Rows { get; } =
    [
        Row<Conv2d>(LayerKind.Conv2d, Convolution, conv => [conv.weight, conv.bias], Unsupported),
        Row<Linear>(LayerKind.Linear, Affine, linear => [linear.weight, linear.bias]),
        Row<BatchNorm2d>(LayerKind.BatchNorm2d, Normalization, norm => [norm.weight, norm.bias], Unsupported),
        Row<ReLU>(LayerKind.Relu),
        Row<Tanh>(LayerKind.Tanh),
        Row<GELU>(LayerKind.Gelu, (gelu, spec) => spec.TanhApproximation = gelu.approximate == GELU.Approximate.tanh),
        Row<Identity>(LayerKind.Identity),
    ];

    public static LayerRow? Of(nn.Module module) => Rows.FirstOrDefault(row => row.Matches(module));

    private static LayerRow Row<T>(
        LayerKind kind, Action<T, LayerSpec>? fill = null, Func<T, Tensor?[]>? parameters = null, Func<T, string>? refusal = null)
        where T : nn.Module => new(
            typeof(T).Name,
            kind,
            module => module is T,
            module => refusal?.Invoke((T)module) ?? string.Empty,
            (module, spec) => fill?.Invoke((T)module, spec),
            module => parameters?.Invoke((T)module) ?? []);

    private static string Unsupported(Conv2d conv) =>
        conv.stride.Any(s => s != 1) ? $"has stride {string.Join('x', conv.stride)}, expected 1"
        : conv.padding_mode != PaddingModes.Zeros ? $"has padding mode {conv.padding_mode}, expected zeros"
        : conv.padding_type is { } rule ? $"has padding '{rule}', expected numbers"
        : string.Empty;

    private static string Unsupported(BatchNorm2d norm) =>
        norm.track_running_stats && norm.momentum is null ? "averages its statistics cumulatively (momentum is null)" : string.Empty;

    private static void Convolution(Conv2d conv, LayerSpec spec)
    {
        spec.InFeatures = conv.in_channels;
        spec.OutFeatures = conv.out_channels;
        spec.KernelHeight = conv.kernel_size[0];
        spec.KernelWidth = conv.kernel_size[^1];
        spec.PaddingHeight = conv.padding![0];
        spec.PaddingWidth = conv.padding[^1];
        spec.DilationHeight = conv.dilation[0];
        spec.DilationWidth = conv.dilation[^1];
        spec.Groups = conv.groups;
        spec.Bias = conv.bias is not null;
    }

    private static void Affine(Linear linear, LayerSpec spec)
    {
        spec.InFeatures = linear.in_features;
        spec.OutFeatures = linear.out_features;
        spec.Bias = linear.bias is not null;
    }

    private static void Normalization(BatchNorm2d norm, LayerSpec spec)
    {
        spec.InFeatures = norm.num_features;
        spec.Affine = norm.affine;
        spec.TrackStatistics = norm.track_running_stats;
        spec.Epsilon = norm.eps;
        spec.Momentum = norm.momentum ?? 0;
    }
}
