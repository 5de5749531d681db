using System.IO.Compression;
using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class GzipFileTests : IDisposable
{
    private readonly string path = Path.GetTempFileName();

    public void Dispose() => File.Delete(path);

    [Fact]
    public void Content_IsWhatGzipPacked_AtAnyLengthAndLevel()
    {
        // Lengths around those of buffers, packed and stored.
        foreach (var length in new[] { 0, 1, 42, 43, 1000, 8100, 8174, 8192, 65_493, 65_494, 65_536, 65_578, 200_000 })
        {
            foreach (var level in new[] { CompressionLevel.NoCompression, CompressionLevel.Optimal })
            {
                var content = Noise(length, length);
                File.WriteAllBytes(path, Packed(content, level));
                Assert.Equal(content, Unpacked());
            }
        }
    }

    [Fact]
    public void Content_OfSeveralMembers_IsTheirsInOrder()
    {
        var (first, second) = (Noise(70_000, 1), Noise(90, 2));
        File.WriteAllBytes(path, [.. Packed(first), .. Packed([]), .. Packed(second)]);
        Assert.Equal([.. first, .. second], Unpacked());
    }

    /// <summary>All of its cuts: in the header, in the data, in checksum and length.</summary>
    [Theory]
    [InlineData(CompressionLevel.NoCompression)]
    [InlineData(CompressionLevel.Optimal)]
    public void Cut_Anywhere_IsRefused(CompressionLevel level)
    {
        foreach (
            var whole in new[]
            {
                Packed(Noise(700, 3), level), Packed(new byte[700], level),
                [.. Packed(Noise(200, 4), level), .. Packed(Noise(200, 5), level)]
            })
        {
            for (var length = 0; length < whole.Length; length++)
            {
                // Between two members a file ends like any other.
                if (length > 0 && length == Packed(Noise(200, 4), level).Length && whole.AsSpan(length).StartsWith((byte[])[0x1f, 0x8b]))
                {
                    continue;
                }

                File.WriteAllBytes(path, whole[..length]);
                Assert.Throws<InvalidDataException>(Unpacked);
            }
        }
    }

    [Fact]
    public void EachBitOfChecksumAndLength_Counts()
    {
        var whole = Packed(Noise(700, 3));
        for (var bit = 0; bit < 64; bit++)
        {
            var changed = (byte[])whole.Clone();
            changed[^(1 + (bit / 8))] ^= (byte)(1 << (bit % 8));
            File.WriteAllBytes(path, changed);
            Assert.Throws<InvalidDataException>(Unpacked);
        }
    }

    [Fact]
    public void WhatFollows_IsRefused()
    {
        foreach (var more in new byte[][] { [0], [0x1f], [0x1f, 0x8b], new byte[512], Noise(20_000, 6) })
        {
            File.WriteAllBytes(path, [.. Packed(Noise(700, 3)), .. more]);
            Assert.Throws<InvalidDataException>(Unpacked);
        }
    }

    [Fact]
    public void NoFiles_AreRefusedAtOnce()
    {
        foreach (var kind in TestFiles.NoFiles)
        {
            var other = Path.Combine(Directory.CreateTempSubdirectory("gzip").FullName, kind);
            TestFiles.Put(kind, other);
            Assert.ThrowsAny<SystemException>(() => TestFiles.InTime(() => new GzipFile(other)));
            Directory.Delete(Path.GetDirectoryName(other)!, recursive: true);
        }
    }

    private static byte[] Noise(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static byte[] Packed(byte[] content, CompressionLevel level = CompressionLevel.Optimal)
    {
        var packed = new MemoryStream();
        using (var stream = new GZipStream(packed, level))
        {
            stream.Write(content);
        }

        // .NET writes nothing for nothing.
        return content.Length > 0 ? packed.ToArray() : [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    }

    private byte[] Unpacked()
    {
        using var file = new GzipFile(path);
        var content = new MemoryStream();
        file.CopyTo(content);
        return content.ToArray();
    }
}
