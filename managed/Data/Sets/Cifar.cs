using System.Formats.Tar;
using System.Text;

namespace ResNetNodes.Data;

/// <summary>
/// CIFAR-10 and CIFAR-100: 50,000 + 10,000 colour images 32×32 of 10 or 100 classes, in their authors' binary version. A record is a
/// label byte (CIFAR-100: coarse, then fine; the fine one is used) and 3 × 32 × 32 bytes.
/// </summary>
public static class Cifar
{
    private const int Pixels = 3 * 32 * 32;
    private const int CoarseClasses = 20;
    private const int MostNames = 1 << 16;

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
    internal static bool Exists(string path, int classes) =>
        Find(path, Variant.Of(classes), train: true) is not null || PythonVersion(path, Variant.Of(classes)) is not null;

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
        var address = new Uri("https://www.cs.toronto.edu/~kriz/" + variant.Archive);
        var download = new Download(address, variant.Sha256, variant.ArchiveLength) { Progress = progress };
        download.ToAsync(path, cancellation).GetAwaiter().GetResult();
        return path;
    }

    internal static InMemoryImages Load(string path, bool train, Variant variant, int recordsPerFile)
    {
        var names = variant.Files(train);
        if (PythonVersion(path, variant) is { } other)
        {
            throw DataFile.Bad(other, variant.IsPython);
        }

        var found = Find(path, variant, train)
            ?? throw DataFile.Bad(
                path, $"holds no {names[0]}, no {variant.Folder} and no {variant.Archive}; give the folder with --data, or use --download");
        var parts = new byte[names.Count][];
        string[]? classNames = null;
        try
        {
            if (Directory.Exists(found))
            {
                for (var i = 0; i < names.Count; i++)
                {
                    var file = Path.Combine(found, names[i]);
                    if (!Path.Exists(file))
                    {
                        throw DataFile.Bad(file, $"not found; {DataFile.Again}, or use --download");
                    }

                    parts[i] = Reading(file, () =>
                    {
                        using var stream = RegularFile.OpenRead(file);
                        return Records(stream, file, stream.Length, recordsPerFile * (long)variant.RecordLength);
                    });
                }

                var meta = Path.Combine(found, variant.NamesFile);
                classNames = Path.Exists(meta)
                    ? Reading(meta, () => Names(RegularFile.ReadAllText(meta, MostNames), meta, variant.Classes))
                    : null;
            }
            else
            {
                classNames = Reading(found, () => FromArchive(found, names, parts, variant, recordsPerFile * (long)variant.RecordLength));
            }
        }
        catch (OutOfMemoryException exception)
        {
            throw DataFile.Bad(
                found, $"needs {DataFile.Number((long)names.Count * recordsPerFile * Pixels)} bytes of memory; free some", exception);
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

    // What lies there instead, of the same images as pickled objects; null beside the binary version.
    private static string? PythonVersion(string path, Variant variant)
    {
        if (Path.GetFileName(path) == variant.PythonArchive && File.Exists(path))
        {
            return path;
        }

        string[] pickles = variant.Classes == 10 ? ["data_batch_1", "test_batch"] : ["train", "test", "meta"];
        return !Directory.Exists(path)
            || Find(path, variant, train: true) is not null || Find(path, variant, train: false) is not null ? null
            : pickles.Any(name => File.Exists(Path.Combine(path, name))) ? path
            : new[] { variant.PythonFolder, variant.PythonArchive }.Select(name => Path.Combine(path, name)).FirstOrDefault(Path.Exists);
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

    private static string[] Names(string text, string name, int classes)
    {
        var names = text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return names.Length == classes
            ? names
            : throw DataFile.Bad(name, $"holds {names.Length} names, expected {classes}; {DataFile.Again}");
    }

    private static string[]? FromArchive(string archive, IReadOnlyList<string> names, byte[]?[] parts, Variant variant, long expected)
    {
        string[]? classNames = null;
        foreach (var member in TarGz.Members(archive))
        {
            var name = member.Name[(member.Name.LastIndexOf('/') + 1)..];
            var shown = $"{archive}, {name}";
            var place = Enumerable.Range(0, names.Count).FirstOrDefault(i => names[i] == name, -1);
            if (name + ".bin" == names[0])
            {
                throw DataFile.Bad(archive, variant.IsPython);
            }

            if (place < 0 && name != variant.NamesFile)
            {
                continue;
            }

            if (member.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
            {
                throw DataFile.Bad(shown, $"is no regular file but {member.EntryType}; {DataFile.Again}");
            }

            if (place < 0 ? classNames is not null : parts[place] is not null)
            {
                throw DataFile.Bad(shown, $"is there twice; {DataFile.Again}");
            }

            // A file of no bytes has no stream.
            var content = member.DataStream ?? Stream.Null;
            if (place >= 0)
            {
                parts[place] = Records(content, shown, member.Length, expected);
            }
            else
            {
                classNames = Names(Text(content, shown, member.Length), shown, variant.Classes);
            }
        }

        var missing = Array.FindIndex(parts, part => part is null);
        return missing < 0
            ? classNames
            : throw DataFile.Bad(archive, $"holds no {names[missing]}; it is not {variant.Name}'s, {DataFile.Again}");
    }

    private static string Text(Stream content, string name, long length)
    {
        if (length > MostNames)
        {
            throw DataFile.Bad(name, $"is {DataFile.Number(length)} bytes long, more than names make sense of; {DataFile.Again}");
        }

        var bytes = new byte[length];
        content.ReadExactly(bytes);
        return Encoding.UTF8.GetString(bytes);
    }

    private static InMemoryImages Assemble(
        string found, IReadOnlyList<string> names, byte[][] parts, Variant variant, int recordsPerFile, string[]? classNames)
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
                var (what, label, most) = labels[i] >= variant.Classes
                    ? ("label", labels[i], variant.Classes)
                    : ("coarse label", bytes[0], CoarseClasses);
                throw DataFile.Bad(
                    Path.Combine(found, names[part]),
                    $"image {DataFile.Number(record)} has {what} {label}, expected 0 to {most - 1}; it is damaged or not "
                    + $"{variant.Name}'s, {DataFile.Again}");
            }

            bytes[head..].CopyTo(images.AsSpan(i * Pixels));
        }

        return new InMemoryImages(variant.Name, images, labels, 3, 32, 32, variant.Classes, classNames);
    }

    /// <summary>What differs between the two.</summary>
    internal sealed record Variant(
        string Name, int Classes, int RecordLength, string Folder, string Archive, long ArchiveLength, string Sha256, string NamesFile)
    {
        public static Variant Ten { get; } = new(
            "cifar10", 10, 1 + Pixels, "cifar-10-batches-bin", "cifar-10-binary.tar.gz", 170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", "batches.meta.txt");

        public static Variant Hundred { get; } = new(
            "cifar100", 100, 2 + Pixels, "cifar-100-binary", "cifar-100-binary.tar.gz", 168_513_733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", "fine_label_names.txt");

        public string PythonFolder => Classes == 10 ? "cifar-10-batches-py" : "cifar-100-python";

        public string IsPython =>
            $"is {Name}'s Python version, whose pickled objects are not read; give the binary version, {Archive}, or use --download";

        public string PythonArchive => $"cifar-{Classes}-python.tar.gz";

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
