using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.RegularExpressions;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Data;

/// <summary>Arrays of float32 in NumPy's .npy format (versions 1 to 3, little endian, C order).</summary>
internal static partial class NpyFile
{
    // NumPy's own bound.
    private const int MostHeader = 10_000;
    private const int MostDimensions = 64;
    private const string Remedy = "save it with numpy.save(path, numpy.ascontiguousarray(a, dtype='<f4'))";
    private static readonly byte[] Magic = [0x93, .. "NUMPY"u8];

    /// <summary>Reads an array.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The array as a tensor of its shape, float32.</returns>
    /// <exception cref="ResNetNodesException">
    /// The file is missing, truncated or of another format or type; the message names it.
    /// </exception>
    public static Tensor Read(string path)
    {
        try
        {
            using var file = RegularFile.OpenRead(path);
            var shape = Shape(path, ReadHeader(path, file));
            var (expected, found) =
                (shape.Aggregate(new BigInteger(sizeof(float)), (bytes, size) => bytes * size), file.Length - file.Position);
            if (found != expected || found > int.MaxValue)
            {
                throw DataFile.Bad(path, found != expected
                    ? $"holds {found} bytes of values, expected {DataFile.Shown($"{expected}")} for [{string.Join(", ", shape)}]; {Remedy}"
                    : $"holds {DataFile.Number(found)} bytes of values, more than {DataFile.Number(int.MaxValue)}; save fewer");
            }

            var values = empty(shape, ScalarType.Float32);
            file.ReadExactly(values.bytes);
            return values;
        }
        catch (Exception exception) when (DataFile.IsOfTheFile(exception))
        {
            throw DataFile.Bad(path, $"can't be read: {exception.Message}", exception);
        }
    }

    // Magic, version, length of the header (2 bytes in version 1, then 4), the header.
    private static string ReadHeader(string path, FileStream file)
    {
        Span<byte> start = stackalloc byte[Magic.Length + 2];
        if (file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) < start.Length || !start[..Magic.Length].SequenceEqual(Magic))
        {
            throw DataFile.Bad(path, $"is not a .npy file; {Remedy}");
        }

        var (version, minor) = (start[^2], start[^1]);
        if (version is < 1 or > 3 || minor != 0)
        {
            throw DataFile.Bad(path, $"is of version {version}.{minor} of the .npy format, expected 1.0 to 3.0; {Remedy}");
        }

        Span<byte> number = stackalloc byte[sizeof(uint)];
        number.Clear();
        var width = version == 1 ? sizeof(ushort) : sizeof(uint);
        var got = file.ReadAtLeast(number[..width], width, throwOnEndOfStream: false);
        var length = BinaryPrimitives.ReadUInt32LittleEndian(number);
        if (got < width || length > file.Length - file.Position)
        {
            throw DataFile.Bad(path, $"truncated in its header; {Remedy}");
        }

        if (length > MostHeader)
        {
            throw DataFile.Bad(path, $"has a header of {DataFile.Number(length)} bytes, more than an array's; {Remedy}");
        }

        var header = new byte[length];
        file.ReadExactly(header);
        return Encoding.Latin1.GetString(header);
    }

    private static long[] Shape(string path, string header)
    {
        var match = Header().Match(header);
        var values = match.Groups["key"].Captures.Zip(match.Groups["value"].Captures, (key, value) => (key.Value, value.Value))
            .ToLookup(pair => pair.Item1, pair => pair.Item2);
        if (!match.Success || values["descr"].Count() != 1 || values["fortran_order"].Count() != 1 || values["shape"].Count() != 1)
        {
            throw DataFile.Bad(path, $"has no header {{'descr': '<f4', 'fortran_order': False, 'shape': (…), }}; {Remedy}");
        }

        if (values["descr"].First() != "'<f4'" || values["fortran_order"].First() != "False")
        {
            throw DataFile.Bad(path, $"is not an array of little-endian float32 in C order ('<f4'); {Remedy}");
        }

        var shape = values["shape"].First();
        if (!Tuple().IsMatch(shape))
        {
            throw DataFile.Bad(path, $"has the shape {DataFile.Shown(shape)}, expected numbers like (3, 4) or (3,); {Remedy}");
        }

        var numbers = shape.Split(['(', ')', ',', ' '], StringSplitOptions.RemoveEmptyEntries);
        return numbers.Length <= MostDimensions
            && numbers.All(number => int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out _))
            ? Array.ConvertAll(numbers, number => long.Parse(number, CultureInfo.InvariantCulture))
            : throw DataFile.Bad(
                path,
                $"has the shape {DataFile.Shown(shape)}, more than {MostDimensions} dimensions or {DataFile.Number(int.MaxValue)} in "
                + $"one; {Remedy}");
    }

    // A literal of Python's with three entries, blanks and a line's end.
    [GeneratedRegex(
        @"\A *\{ *(?:'(?<key>\w+)' *: *(?<value>'[^'\\]*'|True|False|\([^()]*\)) *(?:, *|(?=\}))){3}\} *\n\z",
        RegexOptions.ExplicitCapture)]
    private static partial Regex Header();

    // () or (3,) or (3, 4) or (3, 4,): a single number in parentheses is none.
    [GeneratedRegex(
        @"\A\( *(?:(?:0|[1-9][0-9]*) *, *(?:(?:0|[1-9][0-9]*) *(?:, *(?:0|[1-9][0-9]*) *)*,? *)?)?\)\z",
        RegexOptions.ExplicitCapture)]
    private static partial Regex Tuple();
}
