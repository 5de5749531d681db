namespace ResNetNodes.Data;

/// <summary>Labelled images in memory, as bytes.</summary>
public sealed class ImageDataset
{
    /// <summary>Takes images and labels.</summary>
    /// <param name="name">What outputs call it.</param>
    /// <param name="images">Count × Channels × Height × Width bytes, row-major.</param>
    /// <param name="labels">One class from 0 for each image.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="height">Rows.</param>
    /// <param name="width">Columns.</param>
    /// <param name="classes">Number of classes.</param>
    /// <exception cref="ArgumentException">Sizes that do not fit each other, or a label that is no class.</exception>
    public ImageDataset(string name, byte[] images, byte[] labels, int channels, int height, int width, int classes)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(labels);
        if (images.LongLength != (long)labels.Length * channels * height * width)
        {
            throw new ArgumentException($"{images.LongLength} bytes of images for {labels.Length} labels of {channels}×{height}×{width}");
        }

        var wrong = Array.FindIndex(labels, label => label >= classes);
        if (wrong >= 0)
        {
            throw new ArgumentException($"label {labels[wrong]} of image {wrong} is none of {classes} classes");
        }

        (Name, Images, Labels, Channels, Height, Width, Classes) = (name, images, labels, channels, height, width, classes);
    }

    /// <summary>What outputs call it.</summary>
    public string Name { get; }

    /// <summary>Number of images.</summary>
    public int Count => Labels.Length;

    /// <summary>Channels of an image.</summary>
    public int Channels { get; }

    /// <summary>Rows of an image.</summary>
    public int Height { get; }

    /// <summary>Columns of an image.</summary>
    public int Width { get; }

    /// <summary>Number of classes.</summary>
    public int Classes { get; }

    internal byte[] Images { get; }

    internal byte[] Labels { get; }

    /// <summary>The first images alone.</summary>
    /// <param name="count">How many, at most.</param>
    /// <returns>A data set of them.</returns>
    public ImageDataset Take(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        var kept = Math.Min(count, Count);
        return new(Name, Images[..(kept * Channels * Height * Width)], Labels[..kept], Channels, Height, Width, Classes);
    }
}
