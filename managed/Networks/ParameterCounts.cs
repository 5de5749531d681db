namespace ResNetNodes.Networks;

/// <summary>
/// How many numbers a network learns, from its options alone: what it needs is known before any of it is made. As doubles, since sizes
/// that fit no memory are asked about too.
/// </summary>
internal static class ParameterCounts
{
    /// <summary>Stem, functions and head of a <see cref="TinyResNet"/>.</summary>
    public static double Of(TinyResNetOptions options)
    {
        double planes = options.Planes;
        var stem = (25 * options.InputChannels * planes) + Norm(planes);
        var function = 2 * ((9 * planes * planes) + planes + Norm(planes));
        return stem + (options.Depth * function) + (options.Classes * ((4 * planes) + 1));
    }

    /// <summary>Stem, first blocks, functions and head of a <see cref="ResNet"/>.</summary>
    public static double Of(ResNetOptions options)
    {
        var (planes, bottleneck) = ((double)options.Planes, options.Size.Bottleneck);
        var sum = (options.HasImageNetStem ? 49 : 9) * options.InputChannels * planes;
        sum += Norm(planes);
        var channels = planes;
        foreach (var (blocks, stage) in options.Size.Blocks.Select((blocks, stage) => (blocks, stage)))
        {
            var output = planes * options.Size.Expansion;
            var shortcut = stage == 0 && channels == output ? 0 : (channels * output) + Norm(output);
            sum += Branch(channels, planes, bottleneck) + shortcut;
            channels = output;
            var functions = options.Kind == ResNetKind.Tied ? Math.Min(blocks - 1, 1) : blocks - 1;
            sum += functions * Branch(channels, planes, bottleneck);
            planes *= 2;
        }

        return sum + (options.Classes * (channels + 1));
    }

    // Convolutions without bias, a normalization behind each: 1×1, 3×3, 1×1, or two 3×3.
    private static double Branch(double input, double planes, bool bottleneck) => bottleneck
        ? (input * planes) + (9 * planes * planes) + (4 * planes * planes) + (2 * Norm(planes)) + Norm(4 * planes)
        : (9 * input * planes) + (9 * planes * planes) + (2 * Norm(planes));

    // Weight and bias.
    private static double Norm(double channels) => 2 * channels;
}
