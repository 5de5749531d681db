using System.Formats.Tar;
using System.IO.Compression;

namespace ResNetNodes.Data;

/// <summary>
/// CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images 32×32 of 10 or 100 classes, in their authors' binary version. A record is a
/// label byte (CIFAR-100: coarse, then fine; the fine one is used) and 3 × 32 × 32 bytes.
/// </summary>
public static class Cifar
{
    private const int Pixels = 3 * 32 * 32;
    private const int CoarseClasses = 20;

    /// <summary>Reads one split of the data set.</summary>
    /// <param name="path">
    /// The folder of the .bin files, a folder that contains the unpacked folder or the .tar.gz under its authors' name, or the .tar.gz.
    /// </param>
    /// <param name="train">The training images, or the test images.</param>
    /// <param name="classes">10 or 100.</param>
    /// <returns>The images.</returns>
    /// <exception cref="ResNetNodesException">A file is missing, damaged or of another format; the message names it.</exception>
    public static ImageDataset Load(string path, bool train, int classes)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Load(path, train, Variant.Of(classes), train && classes == 10 ? 10_000 : train ? 50_000 : 10_000);
    }

    /// <summary>Whether <see cref="Load(string, bool, int)"/> would find files, complete or not.</summary>
    /// <param name="path">As there.</param>
    /// <param name="classes">10 or 100.</param>
    /// <returns>Whether there is something to read.</returns>
    internal static bool Exists(string path, int classes) => Find(path, Variant.Of(classes), train: true) is not null;

    /// <summary>
    /// Downloads the archive (170 MB) from the authors' page, or what is missing of it; a complete one that is already there is kept.
    /// </summary>
    /// <param name="folder">Where the archive goes; created if it is missing.</param>
    /// <param name="classes">10 or 100.</param>
    /// <param name="cancellation">Stops the download; what has arrived is kept for the next time.</param>
    /// <returns>The archive's path, for <see cref="Load(string, bool, int)"/>.</returns>
    /// <exception cref="ResNetNodesException">It can't be downloaded or written.</exception>
    public static string Download(string folder, int classes, CancellationToken cancellation = default) =>
        Download(folder, classes, null, cancellation);

    /// <summary>The same; <paramref name="progress"/> is called as bytes arrive.</summary>
    internal static string Download(string folder, int classes, Action<DownloadProgress>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var variant = Variant.Of(classes);
        var path = Path.Combine(folder, variant.Archive);
        var download = new Download(new Uri("https://www.cs.toronto.edu/~kriz/" + variant.Archive), variant.Md5) { Progress = progress };
        download.ToAsync(path, cancellation).GetAwaiter().GetResult();
        return path;
    }

    internal static InMemoryImages Load(string path, bool train, Variant variant, int recordsPerFile)
    {
        var names = variant.Files(train);
        var found = Find(path, variant, train)
            ?? throw DataFile.Bad(path, $"holds no {names[0]}, no {variant.Folder} and no {variant.Archive}; give the folder with --data, or use --download");
        var parts = new byte[names.Count][];
        string[]? classNames = null;
        try
        {
            if (Directory.Exists(found))
            {
                for (var i = 0; i < names.Count; i++)
                {
                    var file = Path.Combine(found, names[i]);
                    if (!File.Exists(file) && !Directory.Exists(file))
                    {
                        throw DataFile.Bad(file, $"not found; {DataFile.Again}, or use --download");
                    }

                    parts[i] = Reading(file, () =>
                    {
                        using var stream = File.OpenRead(file);
                        return Records(stream, file, stream.Length, recordsPerFile * (long)variant.RecordLength);
                    });
                }

                var meta = Path.Combine(found, variant.NamesFile);
                classNames = File.Exists(meta) ? Reading(meta, () => Names(File.OpenText(meta), meta, variant.Classes)) : null;
            }
            else
            {
                classNames = Reading(found, () => FromArchive(found, names, parts, variant, recordsPerFile * (long)variant.RecordLength));
            }
        }
        catch (OutOfMemoryException exception)
        {
            throw DataFile.Bad(found, $"needs {DataFile.Number((long)names.Count * recordsPerFile * Pixels)} bytes of memory; free some", exception);
        }

        return Assemble(found, names, parts, variant, recordsPerFile, classNames);
    }

    // The folder of the .bin files, or the archive.
    private static string? Find(string path, Variant variant, bool train)
    {
        if (!Directory.Exists(path))
        {
            return File.Exists(path) ? path : null;
        }

        if (variant.Files(train).Any(name => File.Exists(Path.Combine(path, name))))
        {
            return path;
        }

        var (folder, archive) = (Path.Combine(path, variant.Folder), Path.Combine(path, variant.Archive));
        return Directory.Exists(folder) ? folder : File.Exists(archive) ? archive : null;
    }

    private static T Reading<T>(string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (InvalidDataException exception)
        {
            throw DataFile.Bad(path, $"is not a complete .tar.gz file ({exception.Message.TrimEnd('.')}); {DataFile.Again}", exception);
        }
        catch (EndOfStreamException exception)
        {
            throw DataFile.Bad(path, $"ends too early; {DataFile.Again}", exception);
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            throw DataFile.Bad(path, $"can't be read: {exception.Message}", exception);
        }
    }

    private static byte[] Records(Stream stream, string name, long length, long expected)
    {
        if (length != expected)
        {
            throw DataFile.Bad(name, length == 0 ? $"is empty; {DataFile.Again}"
                : length < expected ? $"truncated after {DataFile.Number(length)} of {DataFile.Number(expected)} bytes; {DataFile.Again}"
                : $"goes on after {DataFile.Number(expected)} bytes, to {DataFile.Number(length)}; {DataFile.Again}");
        }

        var bytes = new byte[expected];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static string[] Names(TextReader reader, string name, int classes)
    {
        using (reader)
        {
            var names = reader.ReadToEnd().Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            return names.Length == classes ? names : throw DataFile.Bad(name, $"holds {names.Length} names, expected {classes}; {DataFile.Again}");
        }
    }

    private static string[]? FromArchive(string archive, IReadOnlyList<string> names, byte[]?[] parts, Variant variant, long expected)
    {
        string[]? classNames = null;
        using var unzipped = new GZipStream(File.OpenRead(archive), CompressionMode.Decompress);
        using (var reader = new TarReader(unzipped, leaveOpen: true))
        {
            while (reader.GetNextEntry() is { } entry)
            {
                var name = entry.Name[(entry.Name.LastIndexOf('/') + 1)..];
                var shown = $"{archive}, {name}";
                if (entry.DataStream is null)
                {
                    // A file of no bytes has no stream either.
                    if (entry.EntryType is TarEntryType.RegularFile or TarEntryType.V7RegularFile && names.Contains(name))
                    {
                        throw DataFile.Bad(shown, $"is empty; {DataFile.Again}");
                    }
                }
                else if (names.Contains(name))
                {
                    parts[Enumerable.Range(0, names.Count).First(i => names[i] == name)] = Records(entry.DataStream, shown, entry.Length, expected);
                }
                else if (name == variant.NamesFile)
                {
                    classNames = Names(new StreamReader(entry.DataStream), shown, variant.Classes);
                }
            }
        }

        // To the end: there is the checksum.
        unzipped.CopyTo(Stream.Null);
        var missing = Array.FindIndex(parts, part => part is null);
        return missing < 0 ? classNames : throw DataFile.Bad(archive, $"holds no {names[missing]}; it is not {variant.Name}'s, {DataFile.Again}");
    }

    private static InMemoryImages Assemble(string found, IReadOnlyList<string> names, byte[][] parts, Variant variant, int recordsPerFile, string[]? classNames)
    {
        var images = new byte[parts.Length * recordsPerFile * Pixels];
        var labels = new int[parts.Length * recordsPerFile];
        for (var i = 0; i < labels.Length; i++)
        {
            var (part, record) = (i / recordsPerFile, i % recordsPerFile);
            var bytes = parts[part].AsSpan(record * variant.RecordLength, variant.RecordLength);
            var head = bytes.Length - Pixels;
            labels[i] = bytes[head - 1];
            if (labels[i] >= variant.Classes || (head == 2 && bytes[0] >= CoarseClasses))
            {
                var (what, label, most) = labels[i] >= variant.Classes ? ("label", labels[i], variant.Classes) : ("coarse label", bytes[0], CoarseClasses);
                throw DataFile.Bad(Path.Combine(found, names[part]), $"image {DataFile.Number(record)} has {what} {label}, expected 0 to {most - 1}; it is damaged or not {variant.Name}'s, {DataFile.Again}");
            }

            bytes[head..].CopyTo(images.AsSpan(i * Pixels));
        }

        return new InMemoryImages(variant.Name, images, labels, 3, 32, 32, variant.Classes, classNames);
    }

    /// <summary>What differs between the two.</summary>
    internal sealed record Variant(string Name, int Classes, int RecordLength, string Folder, string Archive, string Md5, string NamesFile)
    {
        public static Variant Ten { get; } = new(
            "cifar10", 10, 1 + Pixels, "cifar-10-batches-bin", "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", "batches.meta.txt");

        public static Variant Hundred { get; } = new(
            "cifar100", 100, 2 + Pixels, "cifar-100-binary", "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", "fine_label_names.txt");

        public static Variant Of(int classes) => classes switch
        {
            10 => Ten,
            100 => Hundred,
            _ => throw new ArgumentOutOfRangeException(nameof(classes), classes, "expected 10 or 100"),
        };

        public IReadOnlyList<string> Files(bool train) => (Classes, train) switch
        {
            (10, true) => [.. Enumerable.Range(1, 5).Select(i => $"data_batch_{i}.bin")],
            (10, false) => ["test_batch.bin"],
            (_, true) => ["train.bin"],
            _ => ["test.bin"],
        };
    }
}
