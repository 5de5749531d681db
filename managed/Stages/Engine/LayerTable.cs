using ResNetNodes.Interop;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>A kind of module that the native engine has a layer for: a row of <see cref="LayerTable"/>.</summary>
/// <param name="Type">The module's type. A subclass may compute anything.</param>
/// <param name="Kind">The layer.</param>
/// <param name="Refusal">Why this module can't be the layer all the same; empty where it can.</param>
/// <param name="Fill">The layer's traits besides its kind.</param>
/// <param name="Parameters">Weight and bias, as they are now: modules replace theirs in <c>to</c>.</param>
internal sealed record LayerRow(
    Type Type,
    LayerKind Kind,
    Func<nn.Module, string> Refusal,
    Func<nn.Module, LayerTraits, LayerTraits> Fill,
    Func<nn.Module, Tensor?[]> Parameters)
{
    /// <summary>The module's type, as messages name it.</summary>
    public string Name => Type.Name;

    /// <summary>The module as a layer, as it is now.</summary>
    public LayerTraits Traits(nn.Module module) => Fill(module, new LayerTraits { Kind = Kind });
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
        Row<GELU>(LayerKind.Gelu, (gelu, traits) => traits with { TanhApproximation = gelu.approximate == GELU.Approximate.tanh }),
        Row<Identity>(LayerKind.Identity),
        Row<Subsample>(LayerKind.Subsample, (subsample, traits) => traits with { Stride = (subsample.Stride, subsample.Stride) }),
        Row<MaxPool2d>(LayerKind.MaxPool2d, Pool, refusal: Unsupported),
        Row<AvgPool2d>(LayerKind.AvgPool2d, Pool, refusal: Unsupported),
        Row<AdaptiveAvgPool2d>(LayerKind.GlobalAvgPool2d, refusal: Unsupported),
        Row<Flatten>(LayerKind.Flatten, refusal: Unsupported),
        Row<ResidualBlock>(LayerKind.Add),
        Row<RectifiedBranch>(LayerKind.Rectify),
    ];

    private static readonly Dictionary<Type, LayerRow> ByType = Rows.ToDictionary(row => row.Type);

    public static LayerRow? Of(nn.Module module) => ByType.GetValueOrDefault(module.GetType());

    private static LayerRow Row<T>(
        LayerKind kind, Func<T, LayerTraits, LayerTraits>? fill = null, Func<T, Tensor?[]>? parameters = null,
        Func<T, string>? refusal = null)
        where T : nn.Module => new(
            typeof(T),
            kind,
            module => refusal?.Invoke((T)module) ?? string.Empty,
            (module, traits) => fill?.Invoke((T)module, traits) ?? traits,
            module => parameters?.Invoke((T)module) ?? []);

    private static string Unsupported(Conv2d conv) =>
        conv.padding_mode != PaddingModes.Zeros ? $"has padding mode {conv.padding_mode}, expected zeros"
        : conv.padding_type is { } rule ? $"has padding '{rule}', expected numbers"
        : string.Empty;

    private static string Unsupported(MaxPool2d pool) =>
        pool.ceil_mode ? "rounds the number of its windows up (ceil_mode)" : string.Empty;

    private static string Unsupported(AvgPool2d pool) =>
        pool.ceil_mode ? "rounds the number of its windows up (ceil_mode)"
        : pool.divisor_override is not null ? "divides by a number of its own (divisor_override)"
        : !pool.count_include_pad && Pair(pool.padding, (0, 0)) != (0, 0) ? "leaves the padding out of its means (count_include_pad)"
        : string.Empty;

    private static string Unsupported(AdaptiveAvgPool2d pool) =>
        pool.output_size.AsSpan().ContainsAnyExcept(1) ? $"has output size {string.Join('x', pool.output_size)}, expected 1" : string.Empty;

    private static string Unsupported(Flatten flatten) =>
        (flatten.start_dim, flatten.end_dim) != (1, -1)
            ? $"joins dimensions {flatten.start_dim} to {flatten.end_dim}, expected all but the first (1 to -1)"
            : string.Empty;

    private static string Unsupported(BatchNorm2d norm) =>
        norm.track_running_stats && norm.momentum is null ? "averages its statistics cumulatively (momentum is null)"
        : norm.track_running_stats && (norm.running_mean is null || norm.running_var is null) ? "tracks statistics that it does not have"
        : norm.weight is null != norm.bias is null ? "has only one of weight and bias"
        : string.Empty;

    private static LayerTraits Convolution(Conv2d conv, LayerTraits traits) => traits with
    {
        InFeatures = conv.in_channels,
        OutFeatures = conv.out_channels,
        Kernel = Pair(conv.kernel_size),
        Stride = Pair(conv.stride),
        Padding = Pair(conv.padding!),
        Dilation = Pair(conv.dilation),
        Groups = conv.groups,
        Bias = conv.bias is not null,
    };

    private static LayerTraits Pool(MaxPool2d pool, LayerTraits traits) => traits with
    {
        Kernel = Pair(pool.kernel_size),
        Stride = Pair(pool.stride, Pair(pool.kernel_size)),
        Padding = Pair(pool.padding, (0, 0)),
        Dilation = Pair(pool.dilation, (1, 1)),
    };

    private static LayerTraits Pool(AvgPool2d pool, LayerTraits traits) => traits with
    {
        Kernel = Pair(pool.kernel_size),
        Stride = Pair(pool.stride, Pair(pool.kernel_size)),
        Padding = Pair(pool.padding, (0, 0)),
    };

    private static (long Height, long Width) Pair(long[] sizes) => (sizes[0], sizes[^1]);

    private static (long Height, long Width) Pair(long[]? sizes, (long Height, long Width) none) => sizes is null ? none : Pair(sizes);

    private static LayerTraits Affine(Linear linear, LayerTraits traits) => traits with
    {
        InFeatures = linear.in_features,
        OutFeatures = linear.out_features,
        Bias = linear.bias is not null,
    };

    private static LayerTraits Normalization(BatchNorm2d norm, LayerTraits traits) => traits with
    {
        InFeatures = norm.num_features,
        Affine = norm.weight is not null,
        TrackStatistics = norm.track_running_stats,
        Epsilon = norm.eps,
        Momentum = norm.momentum ?? 0,
    };
}
