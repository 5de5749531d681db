using System.IO.Enumeration;

namespace ResNetNodes.Data;

/// <summary>
/// Lists the files of class folders, and counts what it leaves out. Links to folders are followed, but no folder is listed twice in a
/// class: what leads back, or to where the listing has been, is left out.
/// </summary>
internal sealed class ImageListing
{
    public const string NoUtf8 = "its name is not UTF-8; rename it, for example with convmv";

    // What .NET shows in the place of bytes that are no UTF-8. Under such a name it finds nothing, unless the name holds just this
    // character.
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
                .. others.Count > 0
                    ? [$"{Count(others.Values.Sum(), "file")} of other kinds ({string.Join(", ", kinds)})"]
                    : Array.Empty<string>(),
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
        foreach (var (name, isFolder) in Shown(root))
        {
            var path = Path.Join(root, name);
            if (!isFolder)
            {
                beside++;
            }
            else if (IsLink(path) && LeadsBack(Real(path), real))
            {
                throw DataFile.Bad(path, "is a link to a folder that it lies in; remove it");
            }
            else
            {
                names.Add(name);
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

            var folders = new List<string>();
            foreach (var (name, isFolder) in Shown(Path.Join(folder, next.Inner)))
            {
                if (isFolder)
                {
                    folders.Add(name);
                }
                else
                {
                    Take(Path.Join(next.Inner, name), images);
                }
            }

            folders.Sort(StringComparer.Ordinal);
            foreach (var name in folders)
            {
                var inner = Path.Join(next.Inner, name);
                var path = Path.Join(folder, inner);
                if (!IsLink(path))
                {
                    open.Push((inner, Path.Join(next.Real, name)));
                }
                else if (Real(path) is var real && LeadsBack(real, next.Real))
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
    private static IEnumerable<(string Name, bool IsFolder)> Shown(string folder)
    {
        // Names and kinds alone: asking for each file's state would take longer than all the rest.
        var entries = new FileSystemEnumerable<(string Name, bool IsFolder)>(
            folder,
            (ref FileSystemEntry entry) => (entry.FileName.ToString(), entry.IsDirectory),
            new EnumerationOptions { AttributesToSkip = 0, IgnoreInaccessible = false });
        foreach (var (name, isFolder) in entries)
        {
            if (name.StartsWith('.') || name.Equals("Thumbs.db", StringComparison.OrdinalIgnoreCase)
                || name.Equals("desktop.ini", StringComparison.OrdinalIgnoreCase))
            {
                continue;
            }

            if (isFolder && name.Contains(NoCharacter) && !Directory.Exists(Path.Join(folder, name)))
            {
                throw DataFile.Bad(Path.Join(folder, name), $"can't be read: {NoUtf8}");
            }

            yield return (name, isFolder);
        }
    }

    private static bool IsLink(string folder) => new DirectoryInfo(folder).LinkTarget is not null;

    private static bool LeadsBack(string target, string from) =>
        from == target
        || from.StartsWith(Path.TrimEndingDirectorySeparator(target) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

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
