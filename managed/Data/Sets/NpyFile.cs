using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Data;

/// <summary>Arrays of float32 in NumPy's .npy format (versions 1 to 3, little endian, C order).</summary>
internal static partial class NpyFile
{
    private static readonly byte[] Magic = [0x93, .. "NUMPY"u8];

    /// <summary>Reads an array.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The array as a tensor of its shape, float32.</returns>
    /// <exception cref="ResNetNodesException">The file is missing, truncated or of another format or type; the message names it.</exception>
    public static Tensor Read(string path)
    {
        byte[] data;
        try
        {
            data = File.ReadAllBytes(path);
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            throw DataFile.Bad(path, $"can't be read: {exception.Message}", exception);
        }

        if (data.Length < 12 || !data.AsSpan(0, Magic.Length).SequenceEqual(Magic))
        {
            throw DataFile.Bad(path, "is not a .npy file");
        }

        var wide = data[6] > 1;
        var start = wide ? 12 : 10;
        var length = wide ? BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan(8)) : BinaryPrimitives.ReadUInt16LittleEndian(data.AsSpan(8));
        if (start + length > data.Length)
        {
            throw DataFile.Bad(path, "truncated in its header");
        }

        var header = Header().Match(Encoding.UTF8.GetString(data, start, (int)length));
        if (!header.Success)
        {
            throw DataFile.Bad(path, "is not an array of little-endian float32 in C order ('<f4'); save it as numpy.ascontiguousarray(a, dtype='float32')");
        }

        long[] shape = [.. header.Groups[1].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(n => long.Parse(n, CultureInfo.InvariantCulture))];
        var content = data.AsSpan(start + (int)length);
        var expected = shape.Aggregate(1L, (a, b) => a * b) * sizeof(float);
        return content.Length == expected
            ? tensor(MemoryMarshal.Cast<byte, float>(content).ToArray(), shape)
            : throw DataFile.Bad(path, $"holds {content.Length} bytes of values, expected {expected} for [{string.Join(", ", shape)}]");
    }

    [GeneratedRegex(@"^\{(?=.*'descr': '<f4')(?=.*'fortran_order': False).*'shape': \(([\d, ]*)\)")]
    private static partial Regex Header();
}
