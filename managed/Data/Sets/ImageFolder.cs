namespace ResNetNodes.Data;

/// <summary>
/// Image files: a folder with one folder for each class, of JPEG and PNG images of any size. Classes are numbered in ordinal order of their
/// folders' names. An image is decoded when it is read, on the thread that reads it.
/// </summary>
public sealed class ImageFolder : ImageDataset
{
    private static readonly string[] Endings = [".jpg", ".jpeg", ".png"];
    private readonly string root;
    private readonly string[] files;
    private readonly bool skipCorrupt;

    private ImageFolder(string root, string[] files, int[] labels, IReadOnlyList<string> classNames, bool skipCorrupt)
        : base(Path.GetFileName(Path.TrimEndingDirectorySeparator(root)), labels, classNames.Count, classNames) =>
        (this.root, this.files, this.skipCorrupt) = (root, files, skipCorrupt);

    /// <summary>Lists a folder of class folders.</summary>
    /// <param name="root">The folder.</param>
    /// <param name="skipCorrupt">Leave out images that can't be decoded instead of failing.</param>
    /// <returns>The images in ordinal order of class and file name; none is decoded yet.</returns>
    /// <exception cref="ResNetNodesException">The folder can't be read, has no class folders, or a class has no images.</exception>
    public static ImageFolder Load(string root, bool skipCorrupt = false)
    {
        ArgumentNullException.ThrowIfNull(root);
        root = Path.GetFullPath(root);
        try
        {
            var names = ClassFolders(root);
            var (files, labels) = (new List<string>(), new List<int>());
            for (var label = 0; label < names.Count; label++)
            {
                var folder = Path.Combine(root, names[label]);
                var images = Images(folder);
                if (images.Count == 0)
                {
                    throw DataFile.Bad(folder, $"holds no {string.Join(", ", Endings)} file; remove the folder, or add images of the class");
                }

                files.AddRange(images);
                labels.AddRange(Enumerable.Repeat(label, images.Count));
            }

            return new ImageFolder(root, [.. files], [.. labels], names, skipCorrupt);
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            throw DataFile.Bad(root, $"can't be read: {exception.Message}", exception);
        }
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
            var trained = Load(first, skipCorrupt).ClassNames!;
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
        var path = Path.Combine(root, ClassNames![Label(index)], files[index]);
        byte[] content;
        try
        {
            content = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            // Not the image is damaged, but the disk or its rights are: skipping would hide that.
            throw DataFile.Bad(path, $"can't be read: {exception.Message}", exception);
        }

        var image = ImageDecoder.Decode(content, out var failure);
        return image is not null || skipCorrupt ? image : throw DataFile.Bad(path, $"{failure}; replace or remove it, or use --skip-corrupt");
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
        return new ImageFolder(root, Array.ConvertAll(kept, i => files[i]), Array.ConvertAll(kept, Label), ClassNames!, skipCorrupt);
    }

    private static List<string> ClassFolders(string root)
    {
        if (!Directory.Exists(root))
        {
            throw DataFile.Bad(root, "is not a folder; give the folder of the images with --data");
        }

        var names = Names(Directory.EnumerateDirectories(root));
        return names.Count > 0
            ? names
            : throw DataFile.Bad(root, "has no class folders; sort the images into one folder for each class");
    }

    private static List<string> Images(string folder) =>
        [.. Names(Directory.EnumerateFiles(folder)).Where(name => Endings.Contains(Path.GetExtension(name), StringComparer.OrdinalIgnoreCase))];

    // Hidden ones belong to file managers.
    private static List<string> Names(IEnumerable<string> paths) =>
        [.. paths.Select(path => Path.GetFileName(path)).Where(name => !name.StartsWith('.')).Order(StringComparer.Ordinal)];
}
