namespace ResNetNodes.Data;

/// <summary>Labelled images. Reading is safe from several threads at once.</summary>
public abstract class ImageDataset
{
    // Of a seed's numbers, apart from those of its epochs and images.
    private const long SplitPart = 1L << 40;

    private readonly int[] labels;

    /// <summary>Creates a data set.</summary>
    /// <param name="name">Its name in outputs.</param>
    /// <param name="labels">One class from 0 for each image.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="classNames">The classes' names in order, if known.</param>
    /// <exception cref="ArgumentException">A label that is not a class, or not as many names as classes.</exception>
    protected ImageDataset(string name, int[] labels, int classes, IReadOnlyList<string>? classNames)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(labels);
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 1);
        var wrong = Array.FindIndex(labels, label => (uint)label >= (uint)classes);
        if (wrong >= 0)
        {
            throw new ArgumentException($"label {labels[wrong]} of image {wrong} is not one of {classes} classes");
        }

        if (classNames is not null && classNames.Count != classes)
        {
            throw new ArgumentException($"{classNames.Count} names for {classes} classes");
        }

        (Name, this.labels, Classes, ClassNames) = (name, labels, classes, classNames);
    }

    /// <summary>Its name in outputs.</summary>
    public string Name { get; }

    /// <summary>Number of images.</summary>
    public int Count => labels.Length;

    /// <summary>Number of classes.</summary>
    public int Classes { get; }

    /// <summary>The classes' names in order, if known.</summary>
    public IReadOnlyList<string>? ClassNames { get; }

    /// <summary>
    /// SHA-256 of what the set is made of, in hexadecimal: of its images and labels, or of its files' names and lengths; null where
    /// it is not known.
    /// </summary>
    public virtual string? Digest => null;

    internal ReadOnlySpan<int> Labels => labels;

    /// <summary>The class of an image.</summary>
    /// <param name="index">The image.</param>
    /// <returns>Its class, from 0.</returns>
    public int Label(int index) => labels[index];

    /// <summary>Reads an image.</summary>
    /// <param name="index">The image.</param>
    /// <returns>Its bytes; null if it is damaged and the set skips damaged images.</returns>
    /// <exception cref="ResNetNodesException">The image can't be read or decoded; the message names it.</exception>
    public abstract ImageBytes? Read(int index);

    /// <summary>A smaller set of the first images.</summary>
    /// <param name="count">The largest number of images.</param>
    /// <returns>The first images; from a set that is sorted by class, the first of each class in turn.</returns>
    public abstract ImageDataset Take(int count);

    /// <summary>
    /// Splits the set at random into images to train with and images to validate with; both keep the order of the set, and no image is
    /// in both.
    /// </summary>
    /// <param name="share">The share of validation images, above 0 and below 1; rounded to whole images, at least one.</param>
    /// <param name="seed">Which images these are.</param>
    /// <returns>Two sets of the same name and classes.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The share is out of its range.</exception>
    /// <exception cref="ResNetNodesException">No image to train with would be left.</exception>
    public (ImageDataset Training, ImageDataset Validation) Split(double share, long seed)
    {
        if (share is not (> 0 and < 1))
        {
            throw new ArgumentOutOfRangeException(nameof(share), share, "expected above 0 and below 1");
        }

        var part = Math.Max(1, (int)Math.Round(share * Count));
        if (part >= Count)
        {
            throw new ResNetNodesException(
                $"{Name}: of its {Count} images {part} would validate, and none be left to train with; take a smaller share, or "
                + "more images");
        }

        var order = Enumerable.Range(0, Count).ToArray();
        new RandomNumbers(seed).Part(SplitPart).Stream().Shuffle(order);
        int[] Sorted(IEnumerable<int> indices) => [.. indices.Order()];
        return (new ImageSubset(this, Sorted(order.Skip(part))), new ImageSubset(this, Sorted(order.Take(part))));
    }
}
