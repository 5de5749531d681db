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
    public void Read_OfAnotherFormat_NamesTheFile(string header, string message)
    {
        System.IO.File.WriteAllBytes(path, File(header, new float[6], 1));
        var failure = Assert.Throws<ResNetNodesException>(() => NpyFile.Read(path));
        Assert.Contains(path, failure.Message);
        Assert.Contains(message, failure.Message);
    }

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
        return [0x93, .. "NUMPY"u8, version, 0, .. length[..(start - 8)], .. System.Text.Encoding.ASCII.GetBytes(padded), .. values.SelectMany(BitConverter.GetBytes)];
    }
}
