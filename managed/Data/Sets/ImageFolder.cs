namespace ResNetNodes.Data;

/// <summary>
/// Image files: a folder with one folder for each class, of JPEG, PNG, WebP and BMP images of any size, in subfolders too. Classes are
/// numbered in ordinal order of their folders' names. An image is decoded when it is read, on the thread that reads it.
/// </summary>
public sealed class ImageFolder : ImageDataset
{
    /// <summary>No image is longer.</summary>
    internal const int MostBytes = 1 << 28;

    private readonly string root;
    private readonly string[] files;
    private readonly bool skipCorrupt;
    private readonly Lazy<string> digest;

    private ImageFolder(string root, string[] files, int[] labels, IReadOnlyList<string> classNames, bool skipCorrupt, string? leftOut)
        : base(Path.GetFileName(Path.TrimEndingDirectorySeparator(root)), labels, classNames.Count, classNames)
    {
        (this.root, this.files, this.skipCorrupt, LeftOut) = (root, files, skipCorrupt, leftOut);
        digest = new(Hash);
    }

    /// <inheritdoc/>
    public override string? Digest => digest.Value;

    /// <summary>Files and links that are no images of the set, as a phrase; null for none.</summary>
    internal string? LeftOut { get; }

    /// <summary>Lists a folder of class folders.</summary>
    /// <param name="root">The folder.</param>
    /// <param name="skipCorrupt">Leave out images that can't be decoded instead of failing.</param>
    /// <returns>The images in ordinal order of class and path; none is decoded yet.</returns>
    /// <exception cref="ResNetNodesException">The folder can't be read, has no class folders, or a class has no images.</exception>
    public static ImageFolder Load(string root, bool skipCorrupt = false)
    {
        ArgumentNullException.ThrowIfNull(root);
        root = Path.GetFullPath(root);
        return Reading(root, () =>
        {
            var listing = new ImageListing();
            var names = ClassFolders(root, listing);
            var (files, labels) = (new List<string>(), new List<int>());
            for (var label = 0; label < names.Count; label++)
            {
                var folder = Path.Combine(root, names[label]);
                var images = listing.Images(folder);
                if (images.Count == 0)
                {
                    throw DataFile.Bad(
                        folder, $"holds no {string.Join(", ", ImageListing.Endings)} file; remove the folder, or add images of the class");
                }

                files.AddRange(images);
                labels.AddRange(Enumerable.Repeat(label, images.Count));
            }

            return new ImageFolder(root, [.. files], [.. labels], names, skipCorrupt, listing.LeftOut);
        });
    }

    /// <summary>Lists one split of a data set in the folders train and val, like ImageNet.</summary>
    /// <param name="root">The folder of the two.</param>
    /// <param name="train">The images of train, or those of val.</param>
    /// <param name="skipCorrupt">Leave out images that can't be decoded instead of failing.</param>
    /// <returns>The images.</returns>
    /// <exception cref="ResNetNodesException">As <see cref="Load(string, bool)"/>; or the two splits have different classes.</exception>
    public static ImageFolder LoadSplit(string root, bool train, bool skipCorrupt = false)
    {
        ArgumentNullException.ThrowIfNull(root);
        var (first, second) = (Path.Combine(root, "train"), Path.Combine(root, "val"));
        var found = Load(train ? first : second, skipCorrupt);
        if (!train)
        {
            // Numbers follow names: with another list of names they would mean other classes.
            var trained = Reading(first, () => ClassFolders(first, new ImageListing()));
            var odd = found.ClassNames!.Except(trained).Concat(trained.Except(found.ClassNames!)).FirstOrDefault();
            if (odd is not null)
            {
                throw DataFile.Bad(second, $"class {odd} is in only one of train and val; both need the same class folders");
            }
        }

        return found;
    }

    /// <inheritdoc/>
    public override ImageBytes? Read(int index)
    {
        var path = PathOf(index);
        byte[] content;
        try
        {
            content = RegularFile.ReadAllBytes(path, MostBytes);
        }
        catch (NoRegularFileException exception)
        {
            return Damaged(path, $"can't be read: {exception.Message}");
        }
        catch (FileNotFoundException) when (files[index].Contains(ImageListing.NoCharacter))
        {
            return Damaged(path, $"can't be read: {ImageListing.NoUtf8}");
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            // Not the image is damaged, but the disk or its rights are: skipping would hide that.
            throw DataFile.Bad(path, $"can't be read: {exception.Message}", exception);
        }

        return ImageDecoder.Decode(content, out var failure) ?? Damaged(path, failure!);
    }

    /// <inheritdoc/>
    public override ImageDataset Take(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        var kept = Enumerable.Range(0, Count)
            .GroupBy(Label)
            .SelectMany(group => group.Select((index, place) => (index, place)))
            .OrderBy(image => image.place)
            .ThenBy(image => image.index)
            .Take(count)
            .Select(image => image.index)
            .Order()
            .ToArray();
        return new ImageFolder(
            root, Array.ConvertAll(kept, i => files[i]), Array.ConvertAll(kept, Label), ClassNames!, skipCorrupt, LeftOut);
    }

    private static List<string> ClassFolders(string root, ImageListing listing)
    {
        if (!Directory.Exists(root))
        {
            throw DataFile.Bad(root, "is not a folder; give the folder of the images with --data");
        }

        const string annotations = "val_annotations.txt";
        var names = listing.Classes(root);
        return names is ["images"] && File.Exists(Path.Combine(root, annotations))
            ? throw DataFile.Bad(
                root,
                $"holds the images of all classes in one folder, images, and their classes in {annotations}; sort them into one "
                + "folder for each class, as in train")
            : names.Count > 0 ? names
            : throw DataFile.Bad(root, "has no class folders; sort the images into one folder for each class");
    }

    private static T Reading<T>(string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            throw DataFile.Bad(path, $"can't be read: {exception.Message}", exception);
        }
    }

    private ImageBytes? Damaged(string path, string what) =>
        skipCorrupt ? null : throw DataFile.Bad(path, $"{what}; replace or remove it, or use --skip-corrupt");

    private string Hash()
    {
        var hash = new DatasetDigest(Classes, ClassNames);
        for (var i = 0; i < Count; i++)
        {
            var path = PathOf(i);
            hash.Add(Label(i)).Add(files[i]).Add(Reading(path, () => Length(path)));
        }

        return hash.Hex();
    }

    // What is no file to read, or has no name to read it by, has no length.
    private static long Length(string path)
    {
        FileSystemInfo file = new FileInfo(path);
        file = file.Exists && file.Attributes.HasFlag(FileAttributes.ReparsePoint)
            ? file.ResolveLinkTarget(returnFinalTarget: true)!
            : file;
        return file is FileInfo { Exists: true } found ? found.Length : -1;
    }

    private string PathOf(int index) => Path.Combine(root, ClassNames![Label(index)], files[index]);
}
