namespace ResNetNodes;

/// <summary>Atomic writes: a file gets all of its new content or keeps its old one.</summary>
internal static class AtomicFile
{
    /// <summary>What the name of a file ends with while it is written.</summary>
    public const string Unfinished = ".partial";

    /// <summary>
    /// Writes a temporary file beside the target, flushes it to the disk, and renames it. The temporary file is always a new one: what
    /// stands under its name, left by a crash or a link put there, is removed and not written through.
    /// </summary>
    /// <param name="path">The target.</param>
    /// <param name="write">Writes the content.</param>
    /// <exception cref="ResNetNodesException">It can't be written: no such folder, no permission, a full disk.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        var temporary = path + Unfinished;
        try
        {
            File.Delete(temporary);
            using (var file = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write))
            {
                write(file);
                file.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception exception)
        {
            TryDelete(temporary);
            if (exception is IOException or UnauthorizedAccessException)
            {
                throw new ResNetNodesException($"{path}: can't be written: {exception.Message}", exception);
            }

            throw;
        }
    }

    /// <summary>Writes bytes.</summary>
    /// <param name="path">The target.</param>
    /// <param name="content">Its content.</param>
    public static void Write(string path, byte[] content) => Write(path, file => file.Write(content));

    /// <summary>Writes text as UTF-8.</summary>
    /// <param name="path">The target.</param>
    /// <param name="content">Its content.</param>
    public static void Write(string path, string content) => Write(path, System.Text.Encoding.UTF8.GetBytes(content));

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // The caller gets the first failure.
        }
    }
}
