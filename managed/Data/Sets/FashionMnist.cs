using System.Buffers.Binary;

namespace ResNetNodes.Data;

/// <summary>Fashion-MNIST: 60,000 + 10,000 grey images 28×28 of 10 classes, in the four gzipped IDX files of its authors.</summary>
public static class FashionMnist
{
    /// <summary>The folder in which Debian's package dataset-fashion-mnist installs the files.</summary>
    internal const string DefaultFolder = "/usr/share/datasets/fashion-mnist";

    private const int ImageMagic = 0x803;
    private const int LabelMagic = 0x801;

    // Five times Fashion-MNIST's images.
    private const int MostBytes = 1 << 28;
    private static readonly string[] Names =
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

    /// <summary>Reads one split of the data set.</summary>
    /// <param name="folder">The folder of the files.</param>
    /// <param name="train">The training images, or the test images.</param>
    /// <returns>The images.</returns>
    /// <exception cref="ResNetNodesException">A file is missing, truncated or of another format; the message names it.</exception>
    public static ImageDataset Load(string folder, bool train)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var part = train ? "train" : "t10k";
        var imageFile = Path.Combine(folder, $"{part}-images-idx3-ubyte.gz");
        var images = ReadIdx(imageFile, ImageMagic, 3, out var sizes);
        var labelFile = Path.Combine(folder, $"{part}-labels-idx1-ubyte.gz");
        var labels = ReadIdx(labelFile, LabelMagic, 1, out var counts);
        if (counts[0] != sizes[0])
        {
            throw DataFile.Bad(
                labelFile,
                $"holds {DataFile.Number(counts[0])} labels for {DataFile.Number(sizes[0])} images of {Path.GetFileName(imageFile)}; "
                + "one of the two belongs elsewhere, download both again");
        }

        if (labels.Any(label => label >= Names.Length))
        {
            throw DataFile.Bad(
                labelFile, $"holds label {labels.Max()}, expected 0 to {Names.Length - 1}; it does not belong to Fashion-MNIST");
        }

        return new InMemoryImages(
            "fashion-mnist", images, Array.ConvertAll(labels, label => (int)label), 1, sizes[1], sizes[2], Names.Length, Names);
    }

    private static byte[] ReadIdx(string path, int magic, int dimensions, out int[] sizes)
    {
        if (!Path.Exists(path))
        {
            throw DataFile.Bad(
                path, $"not found; install Debian's package dataset-fashion-mnist (./build.sh setup), or give the folder with --data");
        }

        try
        {
            using var stream = new GzipFile(path);
            Span<byte> header = stackalloc byte[4 + (4 * dimensions)];
            var got = stream.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
            if (got < header.Length)
            {
                throw DataFile.Bad(path, $"truncated after {DataFile.Number(got)} bytes of its header; {DataFile.Again}");
            }

            var found = BinaryPrimitives.ReadInt32BigEndian(header);
            if (found != magic)
            {
                throw DataFile.Bad(path, $"starts with 0x{found:x8}, expected 0x{magic:x8}; it is not an IDX file of this kind");
            }

            sizes = new int[dimensions];
            long total = 1;
            for (var i = 0; i < dimensions; i++)
            {
                sizes[i] = BinaryPrimitives.ReadInt32BigEndian(header[(4 + (4 * i))..]);
                total *= sizes[i];
                if (sizes[i] is < 1 or > 10_000_000 || total > MostBytes)
                {
                    throw DataFile.Bad(path, $"states size {DataFile.Number(sizes[i])} in dimension {i}; it is damaged, {DataFile.Again}");
                }
            }

            var data = new byte[total];
            got = stream.ReadAtLeast(data, data.Length, throwOnEndOfStream: false);
            if (got < data.Length)
            {
                throw DataFile.Bad(path, $"truncated after {DataFile.Number(got)} of {DataFile.Number(total)} bytes; {DataFile.Again}");
            }

            return stream.ReadByte() < 0
                ? data
                : throw DataFile.Bad(path, $"goes on after {DataFile.Number(total)} bytes; {DataFile.Again}");
        }
        catch (InvalidDataException exception)
        {
            throw DataFile.Bad(path, $"is not a complete gzip file ({exception.Message}); {DataFile.Again}", exception);
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            throw DataFile.Bad(path, $"can't be read: {exception.Message}", exception);
        }
    }
}
