namespace ResNetNodes;

/// <summary>Atomic writes: a file gets all of its new content or keeps its old one.</summary>
internal static class AtomicFile
{
    /// <summary>Writes a temporary file beside the target, flushes it to the disk, and renames it.</summary>
    /// <param name="path">The target.</param>
    /// <param name="content">Its content.</param>
    /// <exception cref="ResNetNodesException">It can't be written: no such folder, no permission, a full disk.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content)
    {
        var temporary = path + ".partial";
        try
        {
            using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
            {
                file.Write(content);
                file.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            TryDelete(temporary);
            throw new ResNetNodesException($"{path}: can't be written: {exception.Message}", exception);
        }
    }

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
