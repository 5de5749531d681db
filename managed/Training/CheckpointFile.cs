using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// The file of a checkpoint: a line that names the format, the header's length (8 bytes, little-endian) and the header, the bytes of its
/// tensors, and the SHA-256 of all of that. Written and read as a stream: besides the tensors it takes the memory of a part of one, or
/// of one that does not lie row-major in the CPU's memory.
/// </summary>
internal sealed class CheckpointFile : IDisposable
{
    private const string Format = "ResNetNodes checkpoint ", Version = "3";
    // A thousand times what a network of 1,000 functions takes.
    private const int MostHeader = 1 << 28;

    private static readonly byte[] Magic = Encoding.ASCII.GetBytes($"{Format}{Version}\n");

    private readonly string path;
    private readonly Stream stream;

    private CheckpointFile(string path, Stream stream) => (this.path, this.stream) = (path, stream);

    /// <summary>What it holds; it has the right digest and does not contradict itself.</summary>
    public CheckpointHeader Header { get; private set; } = null!;

    /// <summary>Whether a file begins as a checkpoint does, of this format or another one.</summary>
    public static bool IsOne(Stream stream)
    {
        var first = new byte[Format.Length];
        stream.Position = 0;
        return stream.ReadAtLeast(first, first.Length, throwOnEndOfStream: false) == first.Length
            && Encoding.Latin1.GetString(first) == Format;
    }

    /// <summary>Writes all of a checkpoint.</summary>
    /// <param name="target">Receives it.</param>
    /// <param name="header">Its header.</param>
    /// <param name="tensors">The tensors that the header lists.</param>
    public static void Write(Stream target, CheckpointHeader header, IEnumerable<Tensor> tensors)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var content = header.ToBytes();
        if (content.Length > MostHeader)
        {
            throw new ResNetNodesException($"checkpoint: its header would be {content.Length} bytes long, more than {MostHeader}");
        }

        Span<byte> length = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(length, content.LongLength);
        Put(Magic);
        Put(length);
        Put(content);
        foreach (var tensor in tensors)
        {
            TensorBytes.Read(tensor, Put);
        }

        target.Write(hash.GetHashAndReset());

        void Put(ReadOnlySpan<byte> bytes)
        {
            hash.AppendData(bytes);
            target.Write(bytes);
        }
    }

    /// <summary>Opens a checkpoint; checks its digest, and that its header can be that of this file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ResNetNodesException">It is missing, damaged, or no checkpoint.</exception>
    public static CheckpointFile Open(string path) => RegularFile.Open(path, stream =>
    {
        var file = new CheckpointFile(path, stream);
        file.ReadHeader();
        return file;
    });

    /// <summary>Reads the tensors in the order of the header.</summary>
    /// <param name="targets">One for each, of its type and shape; null to leave it out.</param>
    /// <exception cref="ResNetNodesException">The file can no longer be read; some targets have got its values.</exception>
    public void ReadTensors(IEnumerable<Tensor?> targets)
    {
        try
        {
            foreach (var (entry, target) in Header.Tensors.Zip(targets))
            {
                if (target is null)
                {
                    stream.Seek(entry.Bytes, SeekOrigin.Current);
                }
                else
                {
                    TensorBytes.Write(target, stream.ReadExactly);
                }
            }
        }
        catch (IOException exception)
        {
            throw new ResNetNodesException(
                $"{path}: can no longer be read, and the network has got a part of it: {exception.Message}; read it again, or an "
                + "earlier one",
                exception);
        }
    }

    /// <summary>An error about what stands in it.</summary>
    public ResNetNodesException Damaged(string what, Exception? inner = null)
    {
        var message = $"{path}: is damaged ({what}); use an earlier one, or start the run again";
        return inner is null ? new(message) : new(message, inner);
    }

    public void Dispose() => stream.Dispose();

    private void ReadHeader()
    {
        CheckFormat();
        var body = stream.Length - SHA256.HashSizeInBytes;
        if (body < Magic.Length + sizeof(long) || !Digest(body))
        {
            throw Damaged("its checksum is wrong");
        }

        stream.Position = Magic.Length;
        Span<byte> number = stackalloc byte[sizeof(long)];
        stream.ReadExactly(number);
        var (length, left) = (BinaryPrimitives.ReadInt64LittleEndian(number), body - stream.Position);
        if (length < 0 || length > Math.Min(left, MostHeader))
        {
            throw Damaged($"its header can't be {length} bytes long");
        }

        var content = new byte[length];
        stream.ReadExactly(content);
        try
        {
            Header = CheckpointHeader.Parse(content, left - length);
        }
        catch (FormatException exception)
        {
            throw Damaged(exception.Message, exception);
        }
    }

    private void CheckFormat()
    {
        var first = new byte[Math.Min(Magic.Length, stream.Length)];
        stream.ReadExactly(first);
        if (first.AsSpan().SequenceEqual(Magic))
        {
            return;
        }

        var text = Encoding.Latin1.GetString(first);
        throw new ResNetNodesException(text.StartsWith(Format, StringComparison.Ordinal) && text.EndsWith('\n')
            ? $"{path}: is a checkpoint of format {text[Format.Length..^1]}, and this build reads format {Version}; train again, or "
                + "use the build that wrote it"
            : $"{path}: is not a checkpoint of this program");
    }

    private bool Digest(long body)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        stream.Position = 0;
        var buffer = new byte[1 << 20];
        for (var left = body; left > 0;)
        {
            var part = buffer.AsSpan(0, (int)Math.Min(left, buffer.Length));
            stream.ReadExactly(part);
            hash.AppendData(part);
            left -= part.Length;
        }

        var saved = buffer.AsSpan(0, SHA256.HashSizeInBytes);
        stream.ReadExactly(saved);
        return hash.GetHashAndReset().AsSpan().SequenceEqual(saved);
    }
}
