using ResNetNodes.Data;

namespace ResNetNodes.Tests;

/// <summary>Batches of small random images of four classes.</summary>
internal static class TestLoaders
{
    /// <summary>Images of 5×5 pixels.</summary>
    /// <param name="count">How many.</param>
    /// <param name="batch">Of a batch.</param>
    /// <param name="shuffle">Seed of their order; null keeps it.</param>
    /// <param name="seed">Seed of the images.</param>
    /// <param name="size">Rows and columns of the canvas that they are put on.</param>
    public static BatchLoader Small(int count, int batch, long? shuffle = null, int seed = 1, int size = 5) =>
        new(new RandomImages(count, seed), new Augmentation { Size = size }.WithoutRandomness(), batch, shuffle);

    /// <summary>The data set of <see cref="Small"/>.</summary>
    public sealed class RandomImages(int count, int seed)
        : ImageDataset("random", [.. Enumerable.Range(0, count).Select(i => i % 4)], 4, null)
    {
        public override ImageBytes? Read(int index)
        {
            var bytes = new byte[3 * 5 * 5];
            new Random((seed * 1000) + index).NextBytes(bytes);
            return new(bytes, 3, 5, 5);
        }

        public override ImageDataset Take(int number) => new RandomImages(Math.Min(number, Count), seed);
    }
}
