namespace ResNetNodes.Data;

/// <summary>Labelled images. Reading is safe from several threads at once.</summary>
public abstract class ImageDataset
{
    private readonly int[] labels;

    /// <summary>Takes what every set has.</summary>
    /// <param name="name">What outputs call it.</param>
    /// <param name="labels">One class from 0 for each image.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="classNames">The classes' names in order, if known.</param>
    /// <exception cref="ArgumentException">A label that is no class, or another number of names than of classes.</exception>
    protected ImageDataset(string name, int[] labels, int classes, IReadOnlyList<string>? classNames)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(labels);
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        var wrong = Array.FindIndex(labels, label => (uint)label >= (uint)classes);
        if (wrong >= 0)
        {
            throw new ArgumentException($"label {labels[wrong]} of image {wrong} is none of {classes} classes");
        }

        if (classNames is not null && classNames.Count != classes)
        {
            throw new ArgumentException($"{classNames.Count} names for {classes} classes");
        }

        (Name, this.labels, Classes, ClassNames) = (name, labels, classes, classNames);
    }

    /// <summary>What outputs call it.</summary>
    public string Name { get; }

    /// <summary>Number of images.</summary>
    public int Count => labels.Length;

    /// <summary>Number of classes.</summary>
    public int Classes { get; }

    /// <summary>The classes' names in order, if known.</summary>
    public IReadOnlyList<string>? ClassNames { get; }

    internal ReadOnlySpan<int> Labels => labels;

    /// <summary>The class of an image.</summary>
    /// <param name="index">The image.</param>
    /// <returns>Its class, from 0.</returns>
    public int Label(int index) => labels[index];

    /// <summary>Reads an image.</summary>
    /// <param name="index">The image.</param>
    /// <returns>Its bytes; null where it is damaged and the set was told to skip such images.</returns>
    /// <exception cref="ResNetNodesException">The image can't be read or decoded; the message names it.</exception>
    public abstract ImageBytes? Read(int index);

    /// <summary>A part of the set.</summary>
    /// <param name="count">How many images, at most.</param>
    /// <returns>The first images; of a set that is sorted by class, the first of each class in turn.</returns>
    public abstract ImageDataset Take(int count);
}
