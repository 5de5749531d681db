using System.Runtime.InteropServices;

namespace ResNetNodes.Data;

/// <summary>Labelled images of one size in memory, as bytes.</summary>
public sealed class InMemoryImages : ImageDataset
{
    private readonly ReadOnlyMemory<byte> images;
    private readonly Lazy<string> digest;

    /// <summary>Takes images and labels.</summary>
    /// <param name="name">Its name in outputs.</param>
    /// <param name="images">Count × Channels × Height × Width bytes, row-major.</param>
    /// <param name="labels">One class from 0 for each image.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="height">Rows.</param>
    /// <param name="width">Columns.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="classNames">The classes' names in order, if known.</param>
    /// <exception cref="ArgumentException">Sizes that contradict each other, or a label that is not a class.</exception>
    public InMemoryImages(
        string name, ReadOnlyMemory<byte> images, int[] labels, int channels, int height, int width, int classes,
        IReadOnlyList<string>? classNames = null)
        : base(name, labels, classes, classNames)
    {
        if (images.Length != (long)Count * channels * height * width)
        {
            throw new ArgumentException($"{images.Length} bytes of images for {Count} labels of {channels}×{height}×{width}");
        }

        (this.images, Channels, Height, Width) = (images, channels, height, width);
        digest = new(() => new DatasetDigest(Classes, ClassNames)
            .Add(Channels, Height, Width).Add(MemoryMarshal.AsBytes(Labels)).Add(images.Span).Hex());
    }

    /// <summary>Channels of an image.</summary>
    public int Channels { get; }

    /// <summary>Rows of an image.</summary>
    public int Height { get; }

    /// <summary>Columns of an image.</summary>
    public int Width { get; }

    /// <inheritdoc/>
    public override string? Digest => digest.Value;

    private int ImageLength => Channels * Height * Width;

    /// <inheritdoc/>
    public override ImageBytes? Read(int index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, Count);
        return new ImageBytes(images.Slice(index * ImageLength, ImageLength), Channels, Height, Width);
    }

    /// <inheritdoc/>
    public override ImageDataset Take(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        var kept = Math.Min(count, Count);
        return new InMemoryImages(
            Name, images[..(kept * ImageLength)], Labels[..kept].ToArray(), Channels, Height, Width, Classes, ClassNames);
    }
}
