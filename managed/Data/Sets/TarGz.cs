using System.Formats.Tar;

namespace ResNetNodes.Data;

/// <summary>
/// Reads of .tar.gz archives that take no more memory or time than a data set makes sense of, whatever an archive of a few megabytes says:
/// zeros are packed a thousand to one.
/// </summary>
internal static class TarGz
{
    // CIFAR's hold 8 members of 184 MB together.
    private const long MostContent = 1L << 30;
    private const int MostMembers = 1000;

    // What stands between the contents of two members: headers, and names and attributes too long for them. TarReader takes those whole.
    private const int MostHeaders = 1 << 16;
    private const int MostPadding = 1 << 20;

    /// <summary>The members of an archive, in order; the archive is read to its end, where its checksum stands.</summary>
    /// <param name="path">The archive.</param>
    /// <returns>Each member; its content can be read until the next one is asked for.</returns>
    /// <exception cref="InvalidDataException">
    /// It is damaged, or larger than makes sense; the message is a phrase without the path.
    /// </exception>
    /// <exception cref="IOException">It can't be read or is no regular file.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read, or is a folder.</exception>
    public static IEnumerable<TarEntry> Members(string path)
    {
        using var unzipped = new GzipFile(path);
        using var bounded = new Bounded(unzipped) { Allowance = MostHeaders };
        using (var reader = new TarReader(bounded, leaveOpen: true))
        {
            var (members, content) = (0, 0L);
            while (Next(reader) is { } member)
            {
                members++;
                content += member.Length;
                if (content > MostContent || members > MostMembers)
                {
                    throw new InvalidDataException(
                        $"it holds more than {(content > MostContent ? $"{DataFile.Number(MostContent)} bytes" : $"{MostMembers} members")}"
                        + $", at {DataFile.Shown(member.Name)}");
                }

                bounded.Allowance = member.Length + MostHeaders;
                yield return member;
            }
        }

        bounded.Allowance = MostPadding;
        bounded.CopyTo(Stream.Null);
    }

    private static TarEntry? Next(TarReader reader)
    {
        try
        {
            return reader.GetNextEntry();
        }
        catch (Exception exception) when (exception is FormatException or ArgumentException or NotSupportedException or OverflowException)
        {
            // How TarReader fails at some damaged headers.
            throw new InvalidDataException(exception.Message, exception);
        }
    }

    /// <summary>Refuses to be read beyond an allowance.</summary>
    private sealed class Bounded(Stream content) : ReadingStream
    {
        public long Allowance { get; set; }

        public override int Read(Span<byte> buffer)
        {
            if (buffer.IsEmpty)
            {
                return 0;
            }

            // At the end of the allowance one byte more tells whether the content ends there too.
            var got = content.Read(buffer[..(int)Math.Min(buffer.Length, Math.Max(Allowance, 1))]);
            Allowance -= got;
            return Allowance >= 0 ? got : throw new InvalidDataException("what stands between its members is longer than makes sense");
        }
    }
}
