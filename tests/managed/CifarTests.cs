using System.Formats.Tar;
using System.IO.Compression;
using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class CifarTests : IDisposable
{
    private const int Records = 6;
    private readonly string folder = Directory.CreateTempSubdirectory("cifar").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData(10, true, "here")]
    [InlineData(10, false, "here")]
    [InlineData(10, true, "below")]
    [InlineData(10, true, "archive")]
    [InlineData(10, true, "archive's folder")]
    [InlineData(100, true, "here")]
    [InlineData(100, false, "below")]
    [InlineData(100, true, "archive")]
    public void Load_ReadsTheExactFormat(int classes, bool train, string place)
    {
        var variant = Cifar.Variant.Of(classes);
        var below = place == "here" ? folder : Path.Combine(folder, variant.Folder);
        Write(below, classes, train);
        var path = place == "archive" ? Path.Combine(folder, variant.Archive) : folder;
        if (place.StartsWith("archive", StringComparison.Ordinal))
        {
            Pack(below, Path.Combine(folder, variant.Archive));
            Directory.Delete(below, recursive: true);
        }

        Assert.True(Cifar.Exists(path, classes) || !train);
        var data = Cifar.Load(path, train, variant, Records);
        var files = classes == 10 && train ? 5 : 1;
        Assert.Equal((Records * files, classes, $"cifar{classes}"), (data.Count, data.Classes, data.Name));
        Assert.Equal($"class {classes - 1}", data.ClassNames![classes - 1]);
        for (var i = 0; i < data.Count; i++)
        {
            var (file, record) = (i / Records, i % Records);
            Assert.Equal(FineLabel(file, record, classes), data.Label(i));
            var image = data.Read(i)!.Value;
            Assert.Equal((3, 32, 32), (image.Channels, image.Height, image.Width));
            Assert.Equal(Enumerable.Range(0, 3072).Select(p => Pixel(file, record, p)), image.Values.ToArray());
        }
    }

    [Fact]
    public void Load_WantsTheWholeNumberOfImages()
    {
        var file = Path.Combine(folder, "test_batch.bin");
        File.WriteAllBytes(file, new byte[10_000 * 3073]);
        Assert.Equal(10_000, Cifar.Load(folder, train: false, 10).Count);
        File.WriteAllBytes(file, new byte[9_999 * 3073]);
        Assert.Contains(
            "truncated after 30,726,927 of 30,730,000 bytes",
            Assert.Throws<ResNetNodesException>(() => Cifar.Load(folder, train: false, 10)).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => Cifar.Load(folder, train: false, 20));
    }

    [Theory]
    [InlineData("missing", "not found; download it again, or use --download")]
    [InlineData("empty", "is empty; download it again")]
    [InlineData("truncated", "truncated after 18,437 of 18,438 bytes; download it again")]
    [InlineData("longer", "goes on after 18,438 bytes, to 18,439; download it again")]
    [InlineData("label", "image 2 has label 10, expected 0 to 9")]
    [InlineData("unreadable", "can't be read")]
    [InlineData("names", "holds 3 names, expected 10")]
    public void Load_NamesABadFile(string damage, string message)
    {
        Write(folder, 10, train: true);
        var file = Path.Combine(folder, damage == "names" ? "batches.meta.txt" : "data_batch_3.bin");
        Damage(file, damage);
        Fails(() => Cifar.Load(folder, train: true, Cifar.Variant.Ten, Records), file, message);
    }

    [Theory]
    [InlineData("missing", "holds no data_batch_3.bin; it is not cifar10's, download it again")]
    [InlineData("empty", "data_batch_3.bin: is empty; download it again")]
    [InlineData("truncated", "data_batch_3.bin: truncated after 18,437 of 18,438 bytes")]
    [InlineData("longer", "data_batch_3.bin: goes on after 18,438 bytes")]
    [InlineData("label", "image 2 has label 10")]
    [InlineData("plain", "is not a complete .tar.gz file")]
    [InlineData("no tar", "download it again")]
    [InlineData("cut", "download it again")]
    [InlineData("flipped", "download it again")]
    [InlineData("nothing", "download it again")]
    public void Load_NamesABadArchive(string damage, string message)
    {
        var below = Path.Combine(folder, "unpacked");
        Write(below, 10, train: true);
        Damage(Path.Combine(below, "data_batch_3.bin"), damage);
        var archive = Path.Combine(folder, "cifar-10-binary.tar.gz");
        Pack(below, archive);
        var whole = File.ReadAllBytes(archive);
        switch (damage)
        {
            case "plain":
                File.WriteAllBytes(archive, new byte[5000]);
                break;
            case "no tar":
                using (var stream = new GZipStream(File.Create(archive), CompressionLevel.Fastest))
                {
                    stream.Write(AugmentationTests.RandomImage(3, 40, 40, 1).Values.Span);
                }

                break;
            case "cut":
                File.WriteAllBytes(archive, whole[..(whole.Length / 2)]);
                break;
            case "flipped":
                whole[whole.Length / 2] ^= 4;
                File.WriteAllBytes(archive, whole);
                break;
            case "nothing":
                File.WriteAllBytes(archive, []);
                break;
        }

        Fails(() => Cifar.Load(archive, train: true, Cifar.Variant.Ten, Records), archive, message);
    }

    [Fact]
    public void Load_NamesACoarseLabelAndAMissingFolder()
    {
        Write(folder, 100, train: true);
        var file = Path.Combine(folder, "train.bin");
        var bytes = File.ReadAllBytes(file);
        bytes[3074] = 20;
        File.WriteAllBytes(file, bytes);
        Fails(() => Cifar.Load(folder, train: true, Cifar.Variant.Hundred, Records), file, "image 1 has coarse label 20, expected 0 to 19");
        var none = Path.Combine(folder, "none");
        Assert.False(Cifar.Exists(none, 100));
        Fails(
            () => Cifar.Load(none, train: true, 100), none,
            "holds no train.bin, no cifar-100-binary and no cifar-100-binary.tar.gz; give the folder with --data, or use --download");
    }

    [Theory]
    [InlineData("data_batch_2.bin")]
    [InlineData("batches.meta.txt")]
    [InlineData("cifar-10-binary.tar.gz")]
    public void Load_RefusesWhatIsNoFileAtOnce(string name) => Assert.All(TestFiles.NoFiles, kind =>
    {
        var file = Path.Combine(folder, name);
        if (!name.EndsWith(".gz", StringComparison.Ordinal))
        {
            Write(folder, 10, train: true);
        }
        else if (kind == "folder")
        {
            // A folder under the archive's name is one to look into.
            return;
        }

        TestFiles.Put(kind, file);
        Fails(() => TestFiles.InTime(() => Cifar.Load(folder, train: true, Cifar.Variant.Ten, Records)), file, "can't be read: it is a");
        TestFiles.Remove(file);
    });

    [Fact]
    public void Load_RefusesAnArchiveWithoutTheEndOfItsChecksum()
    {
        var (below, archive) = (Path.Combine(folder, "unpacked"), Path.Combine(folder, "cifar-10-binary.tar.gz"));
        Write(below, 10, train: true);
        Pack(below, archive);
        var whole = File.ReadAllBytes(archive);
        for (var cut = 1; cut <= 9; cut++)
        {
            File.WriteAllBytes(archive, whole[..^cut]);
            Fails(
                () => Cifar.Load(archive, train: true, Cifar.Variant.Ten, Records), archive,
                "is not a complete .tar.gz file (it is cut or damaged");
        }
    }

    [Theory]
    [InlineData(TarEntryType.SymbolicLink, "data_batch_3.bin: is no regular file but SymbolicLink")]
    [InlineData(TarEntryType.HardLink, "data_batch_3.bin: is no regular file but HardLink")]
    [InlineData(TarEntryType.Fifo, "data_batch_3.bin: is no regular file but Fifo")]
    [InlineData(TarEntryType.CharacterDevice, "data_batch_3.bin: is no regular file but CharacterDevice")]
    [InlineData(TarEntryType.RegularFile, "data_batch_3.bin: is there twice")]
    public void Load_TakesEachMemberOnceAndAsAFile(TarEntryType type, string message)
    {
        Write(folder, 10, train: true);
        var archive = Path.Combine(folder, "cifar-10-binary.tar.gz");
        using (var writer = new TarWriter(new GZipStream(File.Create(archive), CompressionLevel.Fastest)))
        {
            foreach (var name in Cifar.Variant.Ten.Files(train: true))
            {
                writer.WriteEntry(Path.Combine(folder, name), "cifar-10-batches-bin/" + name);
                if (name == "data_batch_3.bin" || (name == "data_batch_2.bin" && type != TarEntryType.RegularFile))
                {
                    var other = new PaxTarEntry(type, "cifar-10-batches-bin/data_batch_3.bin");
                    if (type is TarEntryType.SymbolicLink or TarEntryType.HardLink)
                    {
                        other.LinkName = "/dev/zero";
                    }

                    writer.WriteEntry(other);
                }
            }
        }

        Fails(() => Cifar.Load(archive, train: true, Cifar.Variant.Ten, Records), archive, message);
    }

    [Theory]
    [InlineData(10, "cifar-10-batches-py", "here")]
    [InlineData(10, "cifar-10-batches-py", "below")]
    [InlineData(10, "cifar-10-python.tar.gz", "archive")]
    [InlineData(10, "cifar-10-python.tar.gz", "archive's folder")]
    [InlineData(10, "renamed.tar.gz", "archive")]
    [InlineData(100, "cifar-100-python", "here")]
    [InlineData(100, "cifar-100-python", "below")]
    [InlineData(100, "cifar-100-python.tar.gz", "archive")]
    public void Load_SaysThatItIsThePythonVersion(int classes, string name, string place)
    {
        var path = Path.Combine(folder, name);
        var pickles = Directory.CreateDirectory(
            place.StartsWith("archive", StringComparison.Ordinal) ? Path.Combine(folder, "packed") : path).FullName;
        foreach (var pickle in classes == 10 ? ["batches.meta", "data_batch_1", "test_batch"] : new[] { "meta", "test", "train" })
        {
            File.WriteAllBytes(Path.Combine(pickles, pickle), [0x80, 2, (byte)'}', (byte)'.']);
        }

        if (place.StartsWith("archive", StringComparison.Ordinal))
        {
            Pack(pickles, path);
        }

        var given = place is "below" or "archive's folder" ? folder : path;
        Assert.True(Cifar.Exists(given, classes));
        Assert.All([true, false], train => Fails(
            () => Cifar.Load(given, train, classes), path,
            $"is cifar{classes}'s Python version, whose pickled objects are not read; give the binary version, "
            + $"cifar-{classes}-binary.tar.gz, or use --download"));
    }

    /// <summary>Beside the binary version the other one does not matter.</summary>
    [Fact]
    public void Load_PrefersTheBinaryVersion()
    {
        Write(Path.Combine(folder, "cifar-10-batches-bin"), 10, train: true);
        Directory.CreateDirectory(Path.Combine(folder, "cifar-10-batches-py"));
        Assert.Equal(5 * Records, Cifar.Load(folder, train: true, Cifar.Variant.Ten, Records).Count);
    }

    private static void Fails(Action load, string culprit, string message)
    {
        var error = Assert.Throws<ResNetNodesException>(load);
        Assert.StartsWith(culprit, error.Message);
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    private static void Damage(string file, string damage)
    {
        var bytes = File.ReadAllBytes(file);
        switch (damage)
        {
            case "missing":
                File.Delete(file);
                break;
            case "unreadable":
                File.Delete(file);
                Directory.CreateDirectory(file);
                break;
            case "empty":
                File.WriteAllBytes(file, []);
                break;
            case "truncated":
                File.WriteAllBytes(file, bytes[..^1]);
                break;
            case "longer":
                File.WriteAllBytes(file, [.. bytes, 1]);
                break;
            case "label":
                bytes[2 * 3073] = 10;
                File.WriteAllBytes(file, bytes);
                break;
            case "names":
                File.WriteAllText(file, "a\nb\nc\n");
                break;
        }
    }

    private static byte Pixel(int file, int record, int place) =>
        unchecked((byte)((place * 7) + (place / 1024) + (record * 31) + (file * 101)));

    private static int FineLabel(int file, int record, int classes) => ((file * 3) + (record * 37)) % classes;

    // As the authors': a label, or a coarse and a fine one, then the red, the green and the blue plane.
    private static void Write(string folder, int classes, bool train)
    {
        Directory.CreateDirectory(folder);
        var names = Cifar.Variant.Of(classes).Files(train);
        for (var file = 0; file < names.Count; file++)
        {
            using var stream = File.Create(Path.Combine(folder, names[file]));
            for (var record = 0; record < Records; record++)
            {
                stream.Write(classes == 100 ? [(byte)record] : []);
                stream.WriteByte((byte)FineLabel(file, record, classes));
                stream.Write([.. Enumerable.Range(0, 3072).Select(p => Pixel(file, record, p))]);
            }
        }

        File.WriteAllText(
            Path.Combine(folder, Cifar.Variant.Of(classes).NamesFile),
            string.Concat(Enumerable.Range(0, classes).Select(i => $"class {i}\n")) + "\n");
    }

    private static void Pack(string folder, string archive)
    {
        using var stream = new GZipStream(File.Create(archive), CompressionLevel.Fastest);
        TarFile.CreateFromDirectory(folder, stream, includeBaseDirectory: true);
    }
}
