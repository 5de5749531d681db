namespace ResNetNodes.Cli.Tests;

/// <summary>
/// A trained network for tests of the verbs that use one: a tiny one on an image folder of three classes, whose pixels tell them apart.
/// </summary>
public sealed class TrainedFixture : IDisposable
{
    /// <summary>The classes' names, which are folders.</summary>
    public static readonly IReadOnlyList<string> Classes = ["blue", "green", "red"];

    private readonly string folder = Directory.CreateTempSubdirectory("trained").FullName;

    public TrainedFixture()
    {
        foreach (var (split, count) in new[] { ("train", 8), ("val", 5) })
        {
            foreach (var (number, name) in Classes.Index())
            {
                var place = Directory.CreateDirectory(Path.Combine(Images, split, name)).FullName;
                for (var i = 0; i < count; i++)
                {
                    File.WriteAllBytes(Path.Combine(place, $"{i}.bmp"), Picture(number, (100 * number) + i, 40 + i, 36));
                }
            }
        }

        var (code, _, error) = Executable.Run(
        [
            "train", "--dataset", "image-folder", "--data", Images, "--image-size", "32", "--depth", "3", "--planes", "4", "--batch", "8",
            "--epochs", "3", "--lr", "0.02", "--out", At("run"), "--quiet",
        ]);
        if (code != 0)
        {
            throw new InvalidOperationException(error);
        }
    }

    public string Images => At("images");

    public string Checkpoint => Path.Combine(At("run"), "checkpoint.bin");

    /// <summary>The last row of the training's metrics, by column.</summary>
    public IReadOnlyDictionary<string, double> LastEpoch
    {
        get
        {
            var lines = File.ReadAllLines(Path.Combine(At("run"), "metrics.csv"));
            return lines[0].Split(',').Zip(lines[^1].Split(',')).Where(pair => pair.Second.Length > 0)
                .ToDictionary(pair => pair.First, pair => double.Parse(pair.Second, System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    public string At(string name) => Path.Combine(folder, name);

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>A BMP of noise in which one colour is stronger; the same for the same seed.</summary>
    public static byte[] Picture(int colour, int seed, int width, int height)
    {
        var random = new Random(seed);
        var row = ((3 * width) + 3) / 4 * 4;
        var file = new byte[54 + (row * height)];
        "BM"u8.CopyTo(file);
        foreach (var (place, value) in new[] { (2, file.Length), (10, 54), (14, 40), (18, width), (22, height), (26, 1 | (24 << 16)) })
        {
            BitConverter.TryWriteBytes(file.AsSpan(place), value);
        }

        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < 3 * width; x++)
            {
                file[54 + (y * row) + x] = (byte)((random.Next(256) + (x % 3 == colour ? 255 : 60)) / 2);
            }
        }

        return file;
    }
}
