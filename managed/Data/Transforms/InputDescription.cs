namespace ResNetNodes.Data;

/// <summary>
/// What a network was trained to be given, as its files tell it: the size of its images, and how their values are normalized.
/// </summary>
/// <param name="Pixels">Rows and columns.</param>
/// <param name="Channels">Channels; an image of one channel is repeated.</param>
/// <param name="Resize">
/// The shorter side before the centre is taken, at least <paramref name="Pixels"/>; null where images lie unscaled on a canvas.
/// </param>
/// <param name="Mean">Mean of each channel, of values from 0 to 1.</param>
/// <param name="Deviation">Standard deviation of each channel.</param>
public sealed record InputDescription(
    int Pixels, int Channels, int? Resize, IReadOnlyList<double> Mean, IReadOnlyList<double> Deviation)
{
    private const int MostPixels = 1 << 16, MostChannels = 1 << 10;

    /// <summary>What is wrong with it, as a phrase; null where nothing is.</summary>
    internal string? Problem =>
        Pixels is < 1 or > MostPixels || Channels is < 1 or > MostChannels || (long)Channels * Pixels * Pixels > int.MaxValue
            ? $"images of {Channels} channels and {Pixels} pixels"
        : Resize is { } side && (side < Pixels || side > MostPixels) ? $"images resized to {side} pixels for {Pixels}"
        : Mean.Count != Channels || Deviation.Count != Channels
            ? $"{Mean.Count} means and {Deviation.Count} deviations for {Channels} channels"
        : Mean.Any(mean => !double.IsFinite(mean)) || Deviation.Any(deviation => !(deviation > 0) || !double.IsFinite(deviation))
            ? "a mean or deviation that is none"
        : null;

    /// <summary>What a network is given in tests after it was trained with these images.</summary>
    /// <param name="augmentation">How images became its inputs.</param>
    /// <returns>The description.</returns>
    public static InputDescription Of(Augmentation augmentation)
    {
        ArgumentNullException.ThrowIfNull(augmentation);
        return new(
            augmentation.Size, augmentation.Channels,
            augmentation.Fit is ImageFit.Canvas or ImageFit.CanvasOrCentre ? null : augmentation.Resize,
            [.. augmentation.Mean], [.. augmentation.Deviation]);
    }

    /// <summary>
    /// How any image becomes the network's input: as in the tests of its training; where those had no larger images than the canvas, the
    /// centre of a larger one is scaled down to it.
    /// </summary>
    /// <returns>An augmentation without randomness.</returns>
    public Augmentation ToAugmentation() => new()
    {
        Size = Pixels,
        Channels = Channels,
        Fit = Resize is null ? ImageFit.CanvasOrCentre : ImageFit.ResizedCentre,
        Resize = Resize ?? Pixels,
        CropPadding = 0,
        Flip = false,
        Mean = Mean,
        Deviation = Deviation,
    };

    /// <summary>Equal by values.</summary>
    /// <param name="other">The other.</param>
    /// <returns>Whether both describe the same input.</returns>
    public bool Equals(InputDescription? other) => other is not null
        && (Pixels, Channels, Resize) == (other.Pixels, other.Channels, other.Resize)
        && Mean.SequenceEqual(other.Mean) && Deviation.SequenceEqual(other.Deviation);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Pixels, Channels, Resize, Mean.Count > 0 ? Mean[0] : 0);
}
