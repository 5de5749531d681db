using ResNetNodes.Data;
using SkiaSharp;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>Which files of a folder are a set's images.</summary>
public sealed class ImageListingTests : IDisposable
{
    private readonly string root = Directory.CreateTempSubdirectory("listing").FullName;

    public void Dispose() => TestFiles.RemoveAll(root);

    [Fact]
    public void Load_FindsFilesInSubfoldersAndOfAllEndings()
    {
        string[] images = ["a/images/1.JPEG", "a/images/deeper/still/2.jfif", "a/0.jpe", "a/z.webp", "a/x.bmp", "b/1.png"];
        foreach (var name in images)
        {
            Write(name);
        }

        var data = ImageFolder.Load(root);
        Assert.Equal([0, 0, 0, 0, 0, 1], Enumerable.Range(0, data.Count).Select(data.Label));
        Assert.Null(data.LeftOut);
        Assert.All(Enumerable.Range(0, 6), i => Assert.NotNull(data.Read(i)));

        // In ordinal order of their paths.
        File.WriteAllText(Path.Combine(root, "a/images/1.JPEG"), "damaged");
        Assert.Contains("a/images/1.JPEG", Assert.Throws<ResNetNodesException>(() => data.Read(1)).Message);
        File.WriteAllText(Path.Combine(root, "a/images/deeper/still/2.jfif"), "damaged");
        Assert.Contains("a/images/deeper/still/2.jfif", Assert.Throws<ResNetNodesException>(() => data.Read(2)).Message);
    }

    [Fact]
    public void LeftOut_CountsFilesOfOtherKinds()
    {
        foreach (var name in new[] { "a/1.png", "b/1.png", "a/1.tif", "b/deep/2.TIF", "b/notes.txt", "b/README", "list.txt", "stray.png" })
        {
            Write(name);
        }

        foreach (var name in new[] { "a/.DS_Store", "a/Thumbs.db", "b/desktop.ini", ".hidden/x.txt", "a/.cache/1.png" })
        {
            Write(name);
        }

        var data = ImageFolder.Load(root);
        Assert.Equal(2, data.Count);
        Assert.Equal("4 files of other kinds (.tif, .txt, without an ending), 2 files beside the class folders", data.LeftOut);
        Assert.Equal(data.LeftOut, ((ImageFolder)data.Take(1)).LeftOut);
    }

    [Fact]
    public void Links_AreFollowed_ButNoFolderIsListedTwice()
    {
        using var elsewhere = new Elsewhere();
        foreach (var name in new[] { "a/1.png", "a/sub/2.png", "b/3.png" })
        {
            Write(name);
        }

        File.Copy(Path.Combine(root, "b/3.png"), Path.Combine(elsewhere.Folder, "4.png"));
        File.CreateSymbolicLink(Path.Combine(root, "a/5.png"), Path.Combine(root, "b/3.png"));
        Directory.CreateSymbolicLink(Path.Combine(root, "c"), elsewhere.Folder);
        Directory.CreateSymbolicLink(Path.Combine(root, "b/there"), elsewhere.Folder);
        var data = ImageFolder.Load(root);
        Assert.Equal([0, 0, 0, 1, 1, 2], Enumerable.Range(0, data.Count).Select(data.Label));
        Assert.Null(data.LeftOut);
        Assert.All(Enumerable.Range(0, 6), i => Assert.NotNull(data.Read(i)));

        // To itself, up, to one another, to what is listed already, and 2³⁰ ways through a ladder.
        Directory.CreateSymbolicLink(Path.Combine(root, "a/self"), ".");
        Directory.CreateSymbolicLink(Path.Combine(root, "a/sub/up"), "..");
        Directory.CreateSymbolicLink(Path.Combine(root, "b/root"), root);
        Directory.CreateSymbolicLink(Path.Combine(root, "a/again"), Path.Combine(root, "a/sub"));
        Directory.CreateSymbolicLink(Path.Combine(elsewhere.Folder, "back"), Path.Combine(root, "b"));
        for (var i = 0; i < 30; i++)
        {
            var step = Directory.CreateDirectory(Path.Combine(elsewhere.Folder, "ladder", $"{i}")).FullName;
            Directory.CreateSymbolicLink(Path.Combine(step, "left"), $"../{(i + 1) % 30}");
            Directory.CreateSymbolicLink(Path.Combine(step, "right"), $"../{(i + 1) % 30}");
        }

        var cyclic = TestFiles.InTime(() => ImageFolder.Load(root));
        // c/back leads to b's image, and stands for it in c.
        Assert.Equal([0, 0, 0, 1, 1, 2, 2], Enumerable.Range(0, cyclic.Count).Select(cyclic.Label));
        Assert.Contains("links to folders listed before", cyclic.LeftOut);

        Directory.CreateSymbolicLink(Path.Combine(root, "loop"), root);
        Fails(() => ImageFolder.Load(root), "loop: is a link to a folder that it lies in; remove it");
    }

    [Fact]
    public void TinyImageNetsValidationImages_AreExplained()
    {
        foreach (var name in new[] { "train/n01/images/1.JPEG", "train/n02/images/2.JPEG", "val/images/3.JPEG", "val/val_annotations.txt" })
        {
            Write(name);
        }

        Assert.Equal(2, ImageFolder.LoadSplit(root, train: true).Count);
        Fails(
            () => ImageFolder.LoadSplit(root, train: false),
            "val: holds the images of all classes in one folder, images, and their classes in val_annotations.txt; sort them into "
            + "one folder for each class, as in train");
    }

    [Theory]
    [InlineData("pipe", "can't be read: it is a pipe or a device, no regular file")]
    [InlineData("endless", "can't be read: it is a pipe or a device, no regular file")]
    [InlineData("huge", "can't be read: it is 300,000,000 bytes long")]
    [InlineData("no UTF-8", "can't be read: its name is not UTF-8; rename it, for example with convmv")]
    public void WhatIsNoFileOrHasNoName_IsADamagedImage(string kind, string message)
    {
        Write("a/1.png");
        var path = Path.Combine(root, "a/2.png");
        switch (kind)
        {
            case "huge":
                using (var file = File.Create(path))
                {
                    file.SetLength(300_000_000);
                }

                break;
            case "no UTF-8":
                Write("a/2.png");
                TestFiles.Rename(path, "2\\377\\376.png");
                break;
            default:
                TestFiles.Put(kind, path);
                break;
        }

        var data = ImageFolder.Load(root);
        Assert.Equal(2, data.Count);
        Assert.Equal(64, data.Digest!.Length);
        var error = Assert.Throws<ResNetNodesException>(() => TestFiles.InTime(() => data.Read(1)));
        Assert.StartsWith(Path.Combine(root, "a/2"), error.Message);
        Assert.Contains($"{message}", error.Message);
        Assert.Contains("; replace or remove it, or use --skip-corrupt", error.Message);
        var loader = new BatchLoader(
            ImageFolder.Load(root, skipCorrupt: true), Augmentation.ImageNet with { Size = 16, Resize = 18 }, 2, 1, 2);
        Assert.Equal(1, TestFiles.InTime(() => Assert.Single(loader.Epoch(0)).Count));
        Assert.Equal(1, loader.Skipped);
    }

    [Theory]
    [InlineData("b")]
    [InlineData("a/inner")]
    public void FoldersWhoseNamesAreNotUtf8_AreRefused(string folder)
    {
        Write("a/1.png");
        Write($"{folder}/2.png");
        TestFiles.Rename(Path.Combine(root, folder), "caf\\351");
        Fails(
            () => ImageFolder.Load(root, skipCorrupt: true),
            "caf\uFFFD: can't be read: its name is not UTF-8; rename it, for example with convmv");

        // The character that stands for others is a name like any other.
        TestFiles.Rename(Path.Combine(root, Path.GetDirectoryName(folder)!, "caf*"), "caf\\357\\277\\275");
        Assert.Equal(2, ImageFolder.Load(root).Count);
    }

    [Fact]
    public void Digest_ChangesWithTheFiles()
    {
        foreach (var name in new[] { "a/1.png", "a/2.png", "b/1.png" })
        {
            Write(name);
        }

        string Digest() => ImageFolder.Load(root).Digest!;
        var first = Digest();
        Assert.Equal(first, Digest());
        Assert.Matches("^[0-9a-f]{64}$", first);
        var all = new HashSet<string> { first, ImageFolder.Load(root).Take(2).Digest!, ImageFolder.Load(root).Take(1).Digest! };
        Assert.Equal(first, ImageFolder.Load(root).Take(3).Digest);
        File.Move(Path.Combine(root, "a/2.png"), Path.Combine(root, "a/3.png"));
        Assert.True(all.Add(Digest()));
        File.Move(Path.Combine(root, "a/3.png"), Path.Combine(root, "b/3.png"));
        Assert.True(all.Add(Digest()));
        File.AppendAllText(Path.Combine(root, "b/3.png"), "x");
        Assert.True(all.Add(Digest()));
        Directory.Move(Path.Combine(root, "a"), Path.Combine(root, "c"));
        Assert.True(all.Add(Digest()));
        File.Delete(Path.Combine(root, "b/3.png"));
        Assert.True(all.Add(Digest()));
    }

    private static void Fails(Action load, string message)
    {
        var error = Assert.Throws<ResNetNodesException>(load);
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    private void Write(string name) =>
        TestImages.Save(Path.Combine(root, name), TestImages.Colour(4, 4, (x, y) => SKColors.Red), SKEncodedImageFormat.Png);

    private sealed class Elsewhere : IDisposable
    {
        public string Folder { get; } = Directory.CreateTempSubdirectory("elsewhere").FullName;

        public void Dispose() => Directory.Delete(Folder, recursive: true);
    }
}
