using System.Runtime.InteropServices;

namespace ResNetNodes.Data;

/// <summary>Some images of a data set, in its order.</summary>
internal sealed class ImageSubset : ImageDataset
{
    private readonly ImageDataset whole;
    private readonly int[] indices;
    private readonly Lazy<string?> digest;

    /// <summary>Takes a part of a set.</summary>
    /// <param name="whole">The set.</param>
    /// <param name="indices">Which images.</param>
    public ImageSubset(ImageDataset whole, int[] indices)
        : base(whole.Name, Array.ConvertAll(indices, whole.Label), whole.Classes, whole.ClassNames)
    {
        (this.whole, this.indices) = (whole, indices);
        digest = new(() => whole.Digest is { } all
            ? new DatasetDigest(Classes, ClassNames).Add(all).Add(MemoryMarshal.AsBytes<int>(indices)).Hex()
            : null);
    }

    /// <inheritdoc/>
    public override string? Digest => digest.Value;

    /// <inheritdoc/>
    public override ImageBytes? Read(int index) => whole.Read(indices[index]);

    /// <inheritdoc/>
    public override ImageDataset Take(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        return new ImageSubset(whole, indices[..Math.Min(count, Count)]);
    }
}
