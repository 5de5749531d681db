namespace ResNetNodes.Data;

/// <summary>How an image of any size becomes a square.</summary>
public enum ImageFit
{
    /// <summary>Unscaled, centred on a black canvas; moved at random by up to <see cref="Augmentation.CropPadding"/> pixels.</summary>
    Canvas,

    /// <summary>A random part of the image, scaled to the square.</summary>
    RandomResizedCrop,

    /// <summary>The shorter side scaled to <see cref="Augmentation.Resize"/>, and the centre of that.</summary>
    ResizedCentre,

    /// <summary><see cref="Canvas"/> for an image that it has room for, <see cref="ResizedCentre"/> for a larger one.</summary>
    CanvasOrCentre,
}

/// <summary>
/// How an image becomes a network's input: made square, flipped at random, a single channel repeated, and normalized. A value.
/// Random choices depend only on seed, epoch and image.
/// </summary>
/// <remarks>
/// Scaling is bilinear with antialiasing (a triangle filter as wide as a pixel of the coarser grid), in float32, without rounding
/// to bytes in between.
/// </remarks>
public sealed record Augmentation
{
    /// <summary>Rows and columns of the result.</summary>
    public int Size { get; init; } = 32;

    /// <summary>Channels of the result; an image of one channel is repeated.</summary>
    public int Channels { get; init; } = 3;

    /// <summary>How the image becomes a square.</summary>
    public ImageFit Fit { get; init; }

    /// <summary>On a canvas: by how many pixels a random crop may reach beyond the image; 0 for none.</summary>
    public int CropPadding { get; init; } = 4;

    /// <summary>Random resized crop: the smallest share of the image's area.</summary>
    public double LeastArea { get; init; } = 0.08;

    /// <summary>Resized centre, and the tests after random resized crops: the shorter side before the crop, at least Size.</summary>
    public int Resize { get; init; } = 256;

    /// <summary>Whether half of the images, at random, are flipped left to right.</summary>
    public bool Flip { get; init; } = true;

    /// <summary>Mean of each channel, of values from 0 to 1.</summary>
    public IReadOnlyList<double> Mean { get; init; } = [0.4914, 0.4822, 0.4465];

    /// <summary>Standard deviation of each channel.</summary>
    public IReadOnlyList<double> Deviation { get; init; } = [0.2023, 0.1994, 0.2010];

    /// <summary>For CIFAR: 32×32 crops that reach up to 4 pixels beyond the image, and flips.</summary>
    public static Augmentation Cifar { get; } = new();

    /// <summary>
    /// For Fashion-MNIST: only flips, as its images are centred and fill their canvas; its grey mean and
    /// deviation on every channel.
    /// </summary>
    public static Augmentation Grey { get; } =
        new() { CropPadding = 0, Mean = [0.2860, 0.2860, 0.2860], Deviation = [0.3530, 0.3530, 0.3530] };

    /// <summary>
    /// For ImageNet: 224×224 from 8 to 100 % of the area, 3/4 to 4/3 in shape, and flips; in tests the shorter side is scaled to
    /// 256 and the centre taken. Smaller: <c>Augmentation.ImageNet with { Size = 64, Resize = 73 }</c>.
    /// </summary>
    public static Augmentation ImageNet { get; } = new()
    {
        Size = 224,
        Fit = ImageFit.RandomResizedCrop,
        Mean = [0.485, 0.456, 0.406],
        Deviation = [0.229, 0.224, 0.225],
    };

    /// <summary>The same without random choices, for testing.</summary>
    /// <returns>The same canvas and normalization; resized centres instead of random resized crops.</returns>
    public Augmentation WithoutRandomness() => this with
    {
        CropPadding = 0,
        Flip = false,
        Fit = Fit == ImageFit.RandomResizedCrop ? ImageFit.ResizedCentre : Fit,
    };

    /// <summary>Writes one image, normalized, to <paramref name="target"/>.</summary>
    /// <param name="image">The image.</param>
    /// <param name="index">Its number in its set.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="target">Channels × Size × Size floats.</param>
    /// <exception cref="ArgumentException">An image larger than the canvas, or with other channels.</exception>
    internal void Apply(ImageBytes image, int index, long seed, int epoch, Span<float> target)
    {
        if (image.Channels != Channels && image.Channels != 1)
        {
            throw new ArgumentException($"image {index} has {image.Channels} channels, expected 1 or {Channels}");
        }

        ArgumentOutOfRangeException.ThrowIfNotEqual(target.Length, Channels * Size * Size);
        var isLarger = image.Height > Size || image.Width > Size;
        if (Fit == ImageFit.Canvas && isLarger)
        {
            throw new ArgumentException(
                $"image {index} is {image.Height}×{image.Width}, expected at most {Size}×{Size}; larger images need a Fit that "
                + "scales them, such as that of Augmentation.ImageNet");
        }

        var random = Fit == ImageFit.RandomResizedCrop || CropPadding > 0 || Flip ? new RandomNumbers(seed).OfImage(epoch, index) : null;
        switch (Fit)
        {
            case ImageFit.Canvas:
            case ImageFit.CanvasOrCentre when !isLarger:
                var down = random?.Next(-CropPadding, CropPadding + 1) ?? 0;
                var right = random?.Next(-CropPadding, CropPadding + 1) ?? 0;
                OntoCanvas(image, down - ((Size - image.Height) / 2), right - ((Size - image.Width) / 2), target);
                break;
            case ImageFit.RandomResizedCrop:
                var part = CropBox.Draw(random!, image.Height, image.Width, LeastArea);
                AntialiasedResize.Axis rows = new(part.Top, part.Height, Size, 0, Size),
                    columns = new(part.Left, part.Width, Size, 0, Size);
                AntialiasedResize.Scale(image, rows, columns, target);
                break;
            case ImageFit.ResizedCentre:
            case ImageFit.CanvasOrCentre:
                AntialiasedResize.Scale(image, CentreAxis(image.Height, image.Width), CentreAxis(image.Width, image.Height), target);
                break;
        }

        Repeat(image.Channels, target);
        Normalize(target, flip: Flip && random!.Next(2) == 1);
    }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(Size, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(Channels, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(CropPadding);
        ArgumentOutOfRangeException.ThrowIfLessThan(Resize, Fit == ImageFit.Canvas ? 1 : Size);
        if (LeastArea is not (> 0 and <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(LeastArea), LeastArea, "expected above 0, at most 1");
        }

        if (Mean.Count != Channels || Deviation.Count != Channels || Deviation.Any(d => !(d > 0)))
        {
            throw new ArgumentException(
                $"{Mean.Count} means and {Deviation.Count} deviations for {Channels} channels, expected one of each per channel, "
                + "deviations above 0");
        }
    }

    // One axis of "shorter side to Resize, then the centre": the other side keeps its proportion, rounded down.
    private AntialiasedResize.Axis CentreAxis(int side, int other)
    {
        var scaled = side <= other ? Resize : (int)((long)Resize * side / other);
        return new(0, side, scaled, (int)Math.Round((scaled - Size) / 2.0), Size);
    }

    // The border, and the canvas around a smaller image, are black.
    private void OntoCanvas(ImageBytes image, int top, int left, Span<float> target)
    {
        target.Clear();
        var values = image.Values.Span;
        var (from, to) = (Math.Max(0, -left), Math.Min(Size, image.Width - left));
        for (var channel = 0; channel < image.Channels; channel++)
        {
            for (var row = Math.Max(0, -top); row < Math.Min(Size, image.Height - top); row++)
            {
                var source = values.Slice((((channel * image.Height) + row + top) * image.Width) + from + left, to - from);
                var line = target.Slice((((channel * Size) + row) * Size) + from, to - from);
                for (var i = 0; i < line.Length; i++)
                {
                    line[i] = source[i];
                }
            }
        }
    }

    private void Repeat(int channels, Span<float> target)
    {
        var plane = Size * Size;
        for (var channel = channels; channel < Channels; channel++)
        {
            target[..plane].CopyTo(target.Slice(channel * plane, plane));
        }
    }

    private void Normalize(Span<float> target, bool flip)
    {
        for (var row = 0; row < Channels * Size; row++)
        {
            var scale = (float)(1 / (255 * Deviation[row / Size]));
            var shift = (float)(-Mean[row / Size] / Deviation[row / Size]);
            var line = target.Slice(row * Size, Size);
            for (var i = 0; i < line.Length; i++)
            {
                line[i] = (line[i] * scale) + shift;
            }

            if (flip)
            {
                line.Reverse();
            }
        }
    }
}
