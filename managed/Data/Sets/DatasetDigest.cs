using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace ResNetNodes.Data;

/// <summary>SHA-256 of what a data set is made of. Each part goes in with its length, so that no two sets give the same bytes.</summary>
internal sealed class DatasetDigest
{
    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    /// <summary>Begins with the classes.</summary>
    /// <param name="classes">Their number.</param>
    /// <param name="names">Their names in order, if known.</param>
    public DatasetDigest(int classes, IReadOnlyList<string>? names)
    {
        Add(classes, names?.Count ?? -1);
        foreach (var name in names ?? [])
        {
            Add(name);
        }
    }

    public DatasetDigest Add(params ReadOnlySpan<long> numbers)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        foreach (var number in numbers)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
            hash.AppendData(bytes);
        }

        return this;
    }

    public DatasetDigest Add(ReadOnlySpan<byte> bytes)
    {
        Add(bytes.Length);
        hash.AppendData(bytes);
        return this;
    }

    public DatasetDigest Add(string text) => Add(Encoding.UTF8.GetBytes(text));

    /// <summary>Ends it.</summary>
    public string Hex()
    {
        using (hash)
        {
            return Convert.ToHexString(hash.GetHashAndReset()).ToLowerInvariant();
        }
    }
}
