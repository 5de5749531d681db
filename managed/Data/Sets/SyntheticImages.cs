namespace ResNetNodes.Data;

/// <summary>Seeded images for smoke tests: each class has its own pattern, under noise. Every output calls them synthetic.</summary>
internal static class SyntheticImages
{
    /// <summary>Generates images.</summary>
    /// <param name="count">How many.</param>
    /// <param name="seed">The seed of the noise; the patterns are the same for every seed.</param>
    /// <param name="classes">Classes.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="size">Rows and columns.</param>
    /// <returns>The images.</returns>
    public static InMemoryImages Create(int count, int seed, int classes = 10, int channels = 3, int size = 32)
    {
        var pixels = channels * size * size;
        var patterns = new byte[classes * pixels];
        new RandomNumbers(classes).Stream().NextBytes(patterns);
        var random = new RandomNumbers(seed).Stream();
        var images = new byte[count * pixels];
        var labels = new int[count];
        for (var i = 0; i < count; i++)
        {
            labels[i] = i % classes;
            for (var p = 0; p < pixels; p++)
            {
                images[(i * pixels) + p] = (byte)((patterns[(labels[i] * pixels) + p] + random.Next(256)) / 2);
            }
        }

        return new InMemoryImages("synthetic", images, labels, channels, size, size, classes);
    }
}
