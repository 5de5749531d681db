using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class TarGzTests : IDisposable
{
    private const int Huge = 300_000_000;
    private readonly string archive = Path.GetTempFileName();

    public void Dispose() => File.Delete(archive);

    [Theory]
    [InlineData(TarEntryFormat.V7)]
    [InlineData(TarEntryFormat.Ustar)]
    [InlineData(TarEntryFormat.Pax)]
    [InlineData(TarEntryFormat.Gnu)]
    public void Members_AreThoseOfTheArchive(TarEntryFormat format)
    {
        // Of the formats with long names, one as long as they get.
        var name = format is TarEntryFormat.Pax or TarEntryFormat.Gnu ? string.Concat(Enumerable.Repeat("long/", 800)) + "b" : "folder/b";
        using (var writer = new TarWriter(new GZipStream(File.Create(archive), CompressionLevel.Fastest), format))
        {
            writer.WriteEntry(Entry(format, "a", "first"));
            writer.WriteEntry(Entry(format, name, "second"));
        }

        var found = new List<(string, string)>();
        foreach (var member in TarGz.Members(archive))
        {
            found.Add((member.Name, new StreamReader(member.DataStream!).ReadToEnd()));
        }

        Assert.Equal([("a", "first"), (name, "second")], found);
    }

    /// <summary>
    /// Archives of some hundred kilobytes that unpack to 300 MB, in each place where a reader may take a length at its word.
    /// </summary>
    [Theory]
    [InlineData("foreign", "holds no data_batch_1.bin")]
    [InlineData("data_batch_1.bin", "goes on after 18,438 bytes, to 300,000,000")]
    [InlineData("batches.meta.txt", "is 300,000,000 bytes long, more than names make sense of")]
    [InlineData("PAX attributes", "longer than makes sense")]
    [InlineData("global PAX attributes", "longer than makes sense")]
    [InlineData("GNU name", "longer than makes sense")]
    [InlineData("GNU link", "longer than makes sense")]
    [InlineData("after the end", "longer than makes sense")]
    [InlineData("sparse", "(Entry type 'SparseFile' not supported)")]
    [InlineData("several", "more than 1,073,741,824 bytes")]
    [InlineData("many", "more than 1000 members")]
    public void WhatIsHuge_TakesNoMemory(string place, string message)
    {
        using (var stream = new GZipStream(File.Create(archive), CompressionLevel.Fastest))
        {
            switch (place)
            {
                case "PAX attributes":
                    Write(stream, "x", 'x', Huge);
                    break;
                case "global PAX attributes":
                    Write(stream, "g", 'g', Huge);
                    break;
                case "GNU name":
                    Write(stream, "././@LongLink", 'L', Huge);
                    break;
                case "GNU link":
                    Write(stream, "././@LongLink", 'K', Huge);
                    break;
                case "sparse":
                    Write(stream, "data_batch_1.bin", 'S', 6 * 3073);
                    break;
                case "after the end":
                    Zeros(stream, 1024 + Huge);
                    break;
                case "several":
                    for (var i = 0; i < 4; i++)
                    {
                        Write(stream, $"{i}", '0', Huge);
                    }

                    break;
                case "many":
                    for (var i = 0; i <= 1000; i++)
                    {
                        Write(stream, $"{i}", '0', 0);
                    }

                    break;
                default:
                    Write(stream, place, '0', Huge);
                    break;
            }

            Zeros(stream, 1024);
        }

        var lines = TestProcess.Run("archive", archive);
        Assert.Contains(message, lines[0]);
        Assert.StartsWith(archive, lines[0]);
        Assert.InRange(long.Parse(lines[1], CultureInfo.InvariantCulture), 0, 50_000_000);
    }

    /// <summary>Damage in any header ends in one kind of exception.</summary>
    [Fact]
    public void DamagedHeaders_AreInvalidData()
    {
        foreach (var format in new[] { TarEntryFormat.V7, TarEntryFormat.Ustar, TarEntryFormat.Pax, TarEntryFormat.Gnu })
        {
            var whole = new MemoryStream();
            using (var writer = new TarWriter(whole, format, leaveOpen: true))
            {
                writer.WriteEntry(Entry(format, "a", "first"));
            }

            var random = new Random((int)format);
            for (var trial = 0; trial < 150; trial++)
            {
                var bytes = whole.ToArray();
                bytes[random.Next(Math.Min(bytes.Length, 2048))] = (byte)random.Next(256);
                if (trial % 2 == 0)
                {
                    // A right checksum over wrong fields.
                    Sign(bytes.AsSpan(0, 512));
                }

                TestFiles.Gzip(archive, bytes);
                var error = Record.Exception(() => TarGz.Members(archive).Count());
                Assert.True(error is null or InvalidDataException or EndOfStreamException, $"{error}");
            }
        }
    }

    private static TarEntry Entry(TarEntryFormat format, string name, string content)
    {
        TarEntry entry = format switch
        {
            TarEntryFormat.V7 => new V7TarEntry(TarEntryType.V7RegularFile, name),
            TarEntryFormat.Ustar => new UstarTarEntry(TarEntryType.RegularFile, name),
            TarEntryFormat.Pax => new PaxTarEntry(TarEntryType.RegularFile, name),
            _ => new GnuTarEntry(TarEntryType.RegularFile, name),
        };
        entry.DataStream = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(content));
        return entry;
    }

    // A header as in POSIX's pax(1), ustar interchange format, and zeros.
    private static void Write(Stream stream, string name, char type, long length)
    {
        var header = new byte[512];
        void Put(int at, string text) => System.Text.Encoding.ASCII.GetBytes(text, header.AsSpan(at));
        Put(0, name);
        Put(100, "0000644\0");
        Put(108, "0000000\0");
        Put(116, "0000000\0");
        Put(124, Convert.ToString(length, 8).PadLeft(11, '0') + "\0");
        Put(136, "00000000000\0");
        Put(156, $"{type}");
        Put(257, type is 'L' or 'K' or 'S' ? "ustar  \0" : "ustar\00" + "00");
        Sign(header);
        stream.Write(header);
        Zeros(stream, (length + 511) / 512 * 512);
    }

    private static void Sign(Span<byte> header)
    {
        header[148..156].Fill((byte)' ');
        var sum = 0;
        foreach (var b in header)
        {
            sum += b;
        }

        System.Text.Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ", header[148..]);
    }

    private static void Zeros(Stream stream, long count)
    {
        var zeros = new byte[1 << 20];
        for (; count > 0; count -= zeros.Length)
        {
            stream.Write(zeros.AsSpan(0, (int)Math.Min(zeros.Length, count)));
        }
    }
}
