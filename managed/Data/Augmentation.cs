namespace ResNetNodes.Data;

/// <summary>
/// How an image becomes a network's input: centred on a square canvas, channels repeated, then, in training, cropped out of a
/// border and flipped at random, and normalized. Random choices depend on seed, epoch and image alone.
/// </summary>
public sealed record Augmentation
{
    /// <summary>Rows and columns of the result.</summary>
    public int Size { get; init; } = 32;

    /// <summary>Channels of the result; an image of one channel is repeated.</summary>
    public int Channels { get; init; } = 3;

    /// <summary>Pixels of the border that a random crop may reach into; 0 for none.</summary>
    public int CropPadding { get; init; } = 4;

    /// <summary>Whether images are flipped left to right half of the time.</summary>
    public bool Flip { get; init; } = true;

    /// <summary>Mean of each channel, of values from 0 to 1.</summary>
    public IReadOnlyList<double> Mean { get; init; } = [0.4914, 0.4822, 0.4465];

    /// <summary>Standard deviation of each channel.</summary>
    public IReadOnlyList<double> Deviation { get; init; } = [0.2023, 0.1994, 0.2010];

    /// <summary>
    /// The augmentation of Fashion-MNIST: flips alone, as its images are centred and fill their canvas; its grey mean and
    /// deviation on every channel.
    /// </summary>
    public static Augmentation Grey { get; } = new() { CropPadding = 0, Mean = [0.2860, 0.2860, 0.2860], Deviation = [0.3530, 0.3530, 0.3530] };

    /// <summary>Without random choices, as for testing.</summary>
    /// <returns>The same canvas and normalization.</returns>
    public Augmentation WithoutRandomness() => this with { CropPadding = 0, Flip = false };

    /// <summary>Writes one image, normalized, to <paramref name="target"/>.</summary>
    /// <param name="data">The data set.</param>
    /// <param name="index">The image.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="target">Channels × Size × Size floats.</param>
    /// <exception cref="ArgumentException">An image larger than the canvas, or with other channels.</exception>
    public void Apply(ImageDataset data, int index, long seed, int epoch, Span<float> target)
    {
        ArgumentNullException.ThrowIfNull(data);
        if (data.Height > Size || data.Width > Size || (data.Channels != Channels && data.Channels != 1))
        {
            throw new ArgumentException($"images are {data.Channels}×{data.Height}×{data.Width}, expected at most {Channels}×{Size}×{Size}");
        }

        var (down, right, flip) = (0, 0, false);
        if (CropPadding > 0 || Flip)
        {
            var random = new Random(HashOf(seed, epoch, index));
            down = random.Next(-CropPadding, CropPadding + 1);
            right = random.Next(-CropPadding, CropPadding + 1);
            flip = Flip && random.Next(2) == 1;
        }

        var top = (Size - data.Height) / 2;
        var left = (Size - data.Width) / 2;
        var plane = data.Height * data.Width;
        for (var channel = 0; channel < Channels; channel++)
        {
            var source = data.Images.AsSpan(((index * data.Channels) + Math.Min(channel, data.Channels - 1)) * plane, plane);
            var scale = (float)(1 / (255 * Deviation[channel]));
            var shift = (float)(-Mean[channel] / Deviation[channel]);
            for (var row = 0; row < Size; row++)
            {
                var y = row + down - top;
                var line = target.Slice(((channel * Size) + row) * Size, Size);
                for (var column = 0; column < Size; column++)
                {
                    // The border, and the canvas around a smaller image, are black before normalization.
                    var x = (flip ? Size - 1 - column : column) + right - left;
                    var inside = (uint)y < (uint)data.Height && (uint)x < (uint)data.Width;
                    line[column] = ((inside ? source[(y * data.Width) + x] : 0) * scale) + shift;
                }
            }
        }
    }

    // SplitMix64's finalizer: neighbouring images and epochs get unrelated choices.
    private static int HashOf(long seed, int epoch, int index)
    {
        var z = unchecked(((ulong)seed * 0x9E3779B97F4A7C15UL) + ((ulong)epoch << 32) + (ulong)index + 0x9E3779B97F4A7C15UL);
        z = unchecked((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL);
        z = unchecked((z ^ (z >> 27)) * 0x94D049BB133111EBUL);
        return (int)((z ^ (z >> 31)) & 0x7FFFFFFF);
    }
}
