using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class NpyFileTests : IDisposable
{
    private readonly string path = Path.GetTempFileName();

    public void Dispose() => System.IO.File.Delete(path);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Read_GivesShapeAndValues(byte version)
    {
        float[] values = [1, 2.5f, -3, 4, 5, 6];
        System.IO.File.WriteAllBytes(path, File("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", values, version));
        using var found = NpyFile.Read(path);
        Assert.Equal([2, 3], found.shape);
        Assert.Equal(values, found.data<float>().ToArray());
    }

    [Theory]
    [InlineData("{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", "'<f4'")]
    [InlineData("{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }", "C order")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (7,), }", "expected 28")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }", "expected 20")]
    [InlineData("nonsense", "'<f4'")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (6), }", "shape (6), expected numbers like (3, 4) or (3,)")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }", "shape (2 3), expected")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2,,3), }", "expected numbers")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (,6), }", "expected numbers")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }", "expected numbers")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (06,), }", "expected numbers")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (6L,), }", "expected numbers")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (6., ), }", "expected numbers")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (\u0666,), }", "expected numbers")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': [6], }", "has no header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': 6, }", "has no header")]
    [InlineData(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2), }",
        "more than 64 dimensions or 2,147,483,647 in one")]
    [InlineData(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "more than 64 dimensions or 2,147,483,647 in one")]
    [InlineData(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
        + "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,6), }",
        "more than 64 dimensions")]
    // Products that wrap around to 6 in 64 bits.
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (2147483647, 2147483647, 4, 2147483647, 6), }", "expected 9")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (65536, 65536, 65536, 65536, 6), }", "expected 442721857769029238784")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} garbage", "has no header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\0", "has no header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, }", "has no header")]
    [InlineData("{'descr': '<f4', 'shape': (6,), }", "has no header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': True, }", "has no header")]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), 'shape': (6,), }", "has no header")]
    [InlineData("{'descr': '<f4', 'descr': '<f4', 'shape': (6,), }", "has no header")]
    [InlineData("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }", "has no header")]
    [InlineData("", "has no header")]
    public void Read_OfAnotherFormat_NamesTheFile(string header, string message)
    {
        System.IO.File.WriteAllBytes(path, File(header, new float[6], 1));
        var failure = Assert.Throws<ResNetNodesException>(() => NpyFile.Read(path));
        Assert.StartsWith(path, failure.Message);
        Assert.Contains(message, failure.Message);
        Assert.Contains("; save it with numpy.save(", failure.Message);
        Assert.DoesNotContain('\n', failure.Message);
    }

    /// <summary>As Python reads a dictionary: in any order, with or without the last comma.</summary>
    [Theory]
    [InlineData("{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}", new long[] { 2, 3 })]
    [InlineData("{'descr':'<f4','fortran_order':False,'shape':(2,3,)}", new long[] { 2, 3 })]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", new long[] { 6 })]
    [InlineData("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 6, 1), }", new long[] { 1, 6, 1 })]
    public void Read_TakesTheHeaderAsPythonWould(string header, long[] shape)
    {
        float[] values = [1, float.NaN, float.PositiveInfinity, 4, 5, 6];
        System.IO.File.WriteAllBytes(path, File(header, values, 1));
        using var found = NpyFile.Read(path);
        Assert.Equal(shape, found.shape);
        Assert.Equal(values, found.data<float>().ToArray());
    }

    [Fact]
    public void Read_OfOneNumberOrNone_GivesIt()
    {
        System.IO.File.WriteAllBytes(path, File("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", [7], 1));
        using var one = NpyFile.Read(path);
        Assert.Equal(7, one.item<float>());
        System.IO.File.WriteAllBytes(path, File("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }", [], 1));
        using var none = NpyFile.Read(path);
        Assert.Equal([0, 3], none.shape);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(4, 0)]
    [InlineData(255, 0)]
    [InlineData(1, 1)]
    public void Read_OfAnotherVersion_SaysWhich(byte version, byte minor)
    {
        var bytes = File("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", new float[6], 1);
        (bytes[6], bytes[7]) = (version, minor);
        System.IO.File.WriteAllBytes(path, bytes);
        Assert.Contains($"{path}: is of version {version}.{minor}", Assert.Throws<ResNetNodesException>(() => NpyFile.Read(path)).Message);
    }

    [Fact]
    public void Read_RefusesAHeaderWithoutItsEndOrOfAnyLength()
    {
        var bytes = File("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", new float[6], 1);
        bytes[Array.IndexOf(bytes, (byte)'\n')] = (byte)' ';
        System.IO.File.WriteAllBytes(path, bytes);
        Assert.Contains("has no header", Assert.Throws<ResNetNodesException>(() => NpyFile.Read(path)).Message);
        System.IO.File.WriteAllBytes(
            path, File("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }" + new string(' ', 60_000), new float[6], 2));
        Assert.Contains("has a header of 60,", Assert.Throws<ResNetNodesException>(() => NpyFile.Read(path)).Message);
        System.IO.File.WriteAllBytes(path, [0x93, .. "NUMPY"u8, 2, 0, 0xff, 0xff, 0xff, 0xff]);
        Assert.Contains("truncated in its header", Assert.Throws<ResNetNodesException>(() => NpyFile.Read(path)).Message);
    }

    [Fact]
    public void Read_RefusesWhatIsNoFileAtOnce() => Assert.All(TestFiles.NoFiles, kind =>
    {
        var folder = Directory.CreateTempSubdirectory("npy").FullName;
        var other = Path.Combine(folder, "a.npy");
        TestFiles.Put(kind, other);
        Assert.StartsWith(
            $"{other}: can't be read: it is a",
            Assert.Throws<ResNetNodesException>(() => TestFiles.InTime(() => NpyFile.Read(other))).Message);
        Directory.Delete(folder, recursive: true);
    });

    [Fact]
    public void Read_OfDamagedFiles_NamesTheFile()
    {
        var whole = File("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", new float[6], 1);
        foreach (var part in new[] { whole[..0], whole[..5], whole[..20], whole[..^1], [.. whole, 0], [0, .. whole[1..]] })
        {
            System.IO.File.WriteAllBytes(path, part);
            Assert.Contains(path, Assert.Throws<ResNetNodesException>(() => NpyFile.Read(path)).Message);
        }

        Assert.Contains("/nowhere/a.npy", Assert.Throws<ResNetNodesException>(() => NpyFile.Read("/nowhere/a.npy")).Message);
    }

    // As NumPy writes it: magic, version, length of the header, the header padded to 64 bytes, the values.
    private static byte[] File(string header, float[] values, byte version)
    {
        var start = version == 1 ? 10 : 12;
        var padded = header.PadRight((((start + header.Length + 64) / 64) * 64) - start - 1) + "\n";
        var length = BitConverter.GetBytes(padded.Length);
        return
        [
            0x93, .. "NUMPY"u8, version, 0, .. length[..(start - 8)],
            .. System.Text.Encoding.ASCII.GetBytes(padded), .. values.SelectMany(BitConverter.GetBytes)
        ];
    }
}
