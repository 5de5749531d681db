namespace ResNetNodes.Data;

/// <summary>
/// Lists the files of class folders, and counts what it leaves out. Links to folders are followed, but no folder is listed twice in a
/// class: what leads back, or to where the listing has been, is left out.
/// </summary>
internal sealed class ImageListing
{
    public const string NoUtf8 = "its name is not UTF-8; rename it, for example with convmv";

    // What .NET shows in the place of bytes that are no UTF-8. Under such a name it finds nothing, unless the name holds just this character.
    public const char NoCharacter = '\uFFFD';

    /// <summary>What the names of images end with.</summary>
    public static IReadOnlyList<string> Endings { get; } = [".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp"];

    private readonly SortedDictionary<string, int> others = new(StringComparer.Ordinal);
    private int beside;
    private int links;

    /// <summary>What was left out so far, as a phrase; null for nothing.</summary>
    public string? LeftOut
    {
        get
        {
            const int most = 5;
            var kinds = others.Keys.Take(most).Concat(others.Count > most ? ["…"] : Array.Empty<string>());
            string[] phrases =
            [
                .. others.Count > 0 ? [$"{Count(others.Values.Sum(), "file")} of other kinds ({string.Join(", ", kinds)})"] : Array.Empty<string>(),
                .. beside > 0 ? [$"{Count(beside, "file")} beside the class folders"] : Array.Empty<string>(),
                .. links > 0 ? [$"{Count(links, "link")} to folders listed before"] : Array.Empty<string>(),
            ];
            return phrases.Length == 0 ? null : string.Join(", ", phrases);
        }
    }

    /// <summary>The folders of classes.</summary>
    /// <param name="root">Where they lie.</param>
    /// <returns>Their names in ordinal order.</returns>
    public List<string> Classes(string root)
    {
        var names = new List<string>();
        var real = Real(root);
        foreach (var entry in Shown(root))
        {
            if (entry is not DirectoryInfo)
            {
                beside++;
            }
            else if (entry.LinkTarget is not null && LeadsBack(Real(entry.FullName), real))
            {
                throw DataFile.Bad(entry.FullName, "is a link to a folder that it lies in; remove it");
            }
            else
            {
                names.Add(entry.Name);
            }
        }

        names.Sort(StringComparer.Ordinal);
        return names;
    }

    /// <summary>The images in a class folder, at any depth.</summary>
    /// <param name="folder">The class folder.</param>
    /// <returns>Their paths within it, in ordinal order.</returns>
    public List<string> Images(string folder)
    {
        var images = new List<string>();
        var (open, linked) = (new Stack<(string Inner, string Real)>(), new Queue<(string Inner, string Real)>());
        var seen = new HashSet<string>(StringComparer.Ordinal);
        open.Push((string.Empty, Real(folder)));
        // Links last: a folder that lies here too keeps its own path.
        while (open.TryPop(out var next) || linked.TryDequeue(out next))
        {
            if (!seen.Add(next.Real))
            {
                links++;
                continue;
            }

            foreach (var entry in Shown(Path.Join(folder, next.Inner)).OrderBy(entry => entry.Name, StringComparer.Ordinal))
            {
                var inner = Path.Join(next.Inner, entry.Name);
                if (entry is not DirectoryInfo)
                {
                    Take(inner, images);
                }
                else if (entry.LinkTarget is null)
                {
                    open.Push((inner, Path.Join(next.Real, entry.Name)));
                }
                else if (Real(entry.FullName) is var real && LeadsBack(real, next.Real))
                {
                    links++;
                }
                else
                {
                    linked.Enqueue((inner, real));
                }
            }
        }

        images.Sort(StringComparer.Ordinal);
        return images;
    }

    private void Take(string file, List<string> images)
    {
        var ending = Path.GetExtension(file);
        if (Endings.Contains(ending, StringComparer.OrdinalIgnoreCase))
        {
            images.Add(file);
        }
        else
        {
            var kind = ending.Length > 0 ? DataFile.Shown(ending.ToLowerInvariant()) : "without an ending";
            others[kind] = others.GetValueOrDefault(kind) + 1;
        }
    }

    // Hidden ones belong to file managers.
    private static IEnumerable<FileSystemInfo> Shown(string folder)
    {
        foreach (var entry in new DirectoryInfo(folder).EnumerateFileSystemInfos())
        {
            if (entry.Name.StartsWith('.') || entry.Name.ToUpperInvariant() is "THUMBS.DB" or "DESKTOP.INI")
            {
                continue;
            }

            if (entry is DirectoryInfo && entry.Name.Contains(NoCharacter) && !Directory.Exists(entry.FullName))
            {
                throw DataFile.Bad(entry.FullName, $"can't be read: {NoUtf8}");
            }

            yield return entry;
        }
    }

    private static bool LeadsBack(string target, string from) =>
        from == target || from.StartsWith(Path.TrimEndingDirectorySeparator(target) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    // The path without links.
    private static string Real(string folder)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (Path.GetDirectoryName(full) is not { } parent)
        {
            return full;
        }

        var here = new DirectoryInfo(Path.Join(Real(parent), Path.GetFileName(full)));
        return here.ResolveLinkTarget(returnFinalTarget: true) is { } target ? Real(target.FullName) : here.FullName;
    }

    private static string Count(int number, string what) => $"{DataFile.Number(number)} {what}{(number == 1 ? string.Empty : "s")}";
}
