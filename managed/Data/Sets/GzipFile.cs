using System.IO.Compression;

namespace ResNetNodes.Data;

/// <summary>
/// The content of a gzip file, whole or refused. .NET's decoder compares a checksum that it finds, but takes a file that is cut, within
/// its checksum too, for one that ends there. So a member of our own follows the file: only behind a whole one is it decoded.
/// </summary>
internal sealed class GzipFile : ReadingStream
{
    private static readonly byte[] EndMark = "ResNet Nodes: the end of a whole gzip file"u8.ToArray();
    private static readonly byte[] EndMember = Zipped(EndMark);
    private readonly FileStream file;
    private readonly GZipStream content;
    private readonly byte[] decoded = new byte[1 << 16];
    private int start;
    private int end;

    /// <summary>Opens a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">It can't be read or is no regular file.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read, or is a folder.</exception>
    public GzipFile(string path)
    {
        file = RegularFile.OpenRead(path);
        content = new GZipStream(new Marked(file), CompressionMode.Decompress);
    }

    /// <summary>Reads what comes next of the content.</summary>
    /// <exception cref="InvalidDataException">The file is cut or damaged, or something follows it.</exception>
    public override int Read(Span<byte> buffer)
    {
        // The mark is never handed out: the last bytes wait until more follow.
        while (end - start <= EndMark.Length)
        {
            decoded.AsSpan(start, end - start).CopyTo(decoded);
            (start, end) = (0, end - start);
            var got = Decode(decoded.AsSpan(end));
            if (got == 0)
            {
                return decoded.AsSpan(0, end).SequenceEqual(EndMark) ? 0 : throw Damaged();
            }

            end += got;
        }

        var count = Math.Min(buffer.Length, end - start - EndMark.Length);
        decoded.AsSpan(start, count).CopyTo(buffer);
        start += count;
        return count;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        content.Dispose();
        file.Dispose();
        base.Dispose(disposing);
    }

    private int Decode(Span<byte> target)
    {
        try
        {
            return content.Read(target);
        }
        catch (InvalidDataException exception)
        {
            // .NET's text speaks of unsupported methods where a checksum is wrong.
            throw Damaged(exception);
        }
    }

    private InvalidDataException Damaged(Exception? cause = null) => new(
        file.Length == 0 ? "it is empty" : "it is cut or damaged, or something follows it", cause);

    private static byte[] Zipped(byte[] content)
    {
        var zipped = new MemoryStream();
        using (var stream = new GZipStream(zipped, CompressionLevel.Fastest))
        {
            stream.Write(content);
        }

        return zipped.ToArray();
    }

    private sealed class Marked(FileStream file) : ReadingStream
    {
        private int given;

        public override int Read(Span<byte> buffer)
        {
            var got = file.Read(buffer);
            if (got > 0 || file.Length == 0)
            {
                return got;
            }

            var count = Math.Min(buffer.Length, EndMember.Length - given);
            EndMember.AsSpan(given, count).CopyTo(buffer);
            given += count;
            return count;
        }
    }
}
