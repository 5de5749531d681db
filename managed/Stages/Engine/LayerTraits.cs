using ResNetNodes.Interop;

namespace ResNetNodes.Stages.Engine;

/// <summary>
/// A layer as a module says it, besides parameters: a copy, so that a later change of the module can be seen. What a kind has no use for
/// keeps its default.
/// </summary>
internal readonly record struct LayerTraits()
{
    public LayerKind Kind { get; init; }

    public long InFeatures { get; init; }

    public long OutFeatures { get; init; }

    public (long Height, long Width) Kernel { get; init; } = (1, 1);

    public (long Height, long Width) Stride { get; init; } = (1, 1);

    public (long Height, long Width) Padding { get; init; }

    public (long Height, long Width) Dilation { get; init; } = (1, 1);

    public long Groups { get; init; } = 1;

    public bool Bias { get; init; }

    public bool Affine { get; init; }

    public bool TrackStatistics { get; init; }

    public double Epsilon { get; init; } = 1e-5;

    public double Momentum { get; init; }

    public bool TanhApproximation { get; init; }

    /// <summary>The layer as the native engine reads it.</summary>
    /// <param name="input">The number of the layer whose output it reads; −1: the function's input.</param>
    public LayerSpec Spec(long input) => new()
    {
        Kind = Kind,
        Input = input,
        InFeatures = InFeatures,
        OutFeatures = OutFeatures,
        KernelHeight = Kernel.Height,
        KernelWidth = Kernel.Width,
        StrideHeight = Stride.Height,
        StrideWidth = Stride.Width,
        PaddingHeight = Padding.Height,
        PaddingWidth = Padding.Width,
        DilationHeight = Dilation.Height,
        DilationWidth = Dilation.Width,
        Groups = Groups,
        Bias = Bias,
        Affine = Affine,
        TrackStatistics = TrackStatistics,
        Epsilon = Epsilon,
        Momentum = Momentum,
        TanhApproximation = TanhApproximation,
    };
}
