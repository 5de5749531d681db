using System.Buffers.Binary;
using System.Text.Json;
using ResNetNodes.Training;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>
/// The safetensors format: the header's length (8 bytes, little-endian), a header in JSON that gives each tensor its type, shape and place,
/// and the values, row-major and little-endian, without gaps.
/// </summary>
internal sealed class SafetensorsFile : WeightsReader
{
    private const string MetadataName = "__metadata__";
    // The bound of the format's own library.
    private const long MostHeader = 100_000_000;

    private static readonly Dictionary<string, ScalarType> Types = new()
    {
        ["BOOL"] = ScalarType.Bool,
        ["U8"] = ScalarType.Byte,
        ["I8"] = ScalarType.Int8,
        ["I16"] = ScalarType.Int16,
        ["I32"] = ScalarType.Int32,
        ["I64"] = ScalarType.Int64,
        ["F16"] = ScalarType.Float16,
        ["BF16"] = ScalarType.BFloat16,
        ["F32"] = ScalarType.Float32,
        ["F64"] = ScalarType.Float64,
    };

    private readonly Stream stream;
    private readonly long start;

    public SafetensorsFile(string path, Stream stream)
        : base(path)
    {
        this.stream = stream;
        var length = HeaderLength(stream);
        start = sizeof(long) + length;
        var header = new byte[length];
        stream.Position = sizeof(long);
        stream.ReadExactly(header);
        try
        {
            using var json = JsonDocument.Parse(header);
            (Tensors, Metadata) = Parse(json.RootElement, stream.Length - start);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException or FormatException)
        {
            // A text that is no Unicode is an InvalidOperationException of the reader.
            throw Damaged(
                exception is FormatException ? exception.Message : $"its header is no JSON of tensors: {exception.Message.Split('\n')[0]}",
                exception);
        }
    }

    public override IReadOnlyList<StoredTensor> Tensors { get; }

    public override IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Whether a file begins with the length of a header that it has room for, and with the header's bracket.</summary>
    public static bool IsOne(Stream stream)
    {
        if (stream.Length <= sizeof(long) || HeaderLength(stream) is var length && (length < 2 || length > MostHeader))
        {
            return false;
        }

        return length <= stream.Length - sizeof(long) && stream.ReadByte() == '{';
    }

    /// <summary>Writes a file.</summary>
    /// <param name="target">Receives it.</param>
    /// <param name="tensors">Tensors by name.</param>
    /// <param name="metadata">Texts beside them.</param>
    public static void Write(
        Stream target, IReadOnlyList<(string Name, Tensor Tensor)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        // The widest first: each then begins at a multiple of its width, where readers map the file.
        var ordered = tensors.OrderByDescending(t => t.Tensor.ElementSize).ToList();
        var header = Header(ordered, metadata);
        Span<byte> length = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.LongLength);
        target.Write(length);
        target.Write(header);
        foreach (var (_, tensor) in ordered)
        {
            TensorBytes.Read(tensor, target.Write);
        }
    }

    public override void Read(StoredTensor stored, Tensor target)
    {
        stream.Position = start + ((Entry)stored).Begin;
        TensorBytes.Write(target, stream.ReadExactly);
    }

    protected override void Dispose(bool disposing) => stream.Dispose();

    private static long HeaderLength(Stream stream)
    {
        Span<byte> number = stackalloc byte[sizeof(long)];
        stream.Position = 0;
        stream.ReadExactly(number);
        return BinaryPrimitives.ReadInt64LittleEndian(number);
    }

    private static byte[] Header(IEnumerable<(string Name, Tensor Tensor)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (metadata.Count > 0)
            {
                json.WriteStartObject(MetadataName);
                foreach (var (key, value) in metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            var begin = 0L;
            foreach (var (name, tensor) in tensors)
            {
                var end = begin + (tensor.NumberOfElements * tensor.ElementSize);
                json.WriteStartObject(name);
                json.WriteString("dtype", Types.Single(type => type.Value == tensor.dtype).Key);
                WriteNumbers(json, "shape", tensor.shape);
                WriteNumbers(json, "data_offsets", begin, end);
                json.WriteEndObject();
                begin = end;
            }

            json.WriteEndObject();
        }

        // Spaces behind the header align what follows.
        while (buffer.Length % sizeof(long) != 0)
        {
            buffer.WriteByte((byte)' ');
        }

        return buffer.Length <= MostHeader
            ? buffer.ToArray()
            : throw new ResNetNodesException(
                $"names and metadata would take {buffer.Length} bytes, more than the {MostHeader} of safetensors");
    }

    private static void WriteNumbers(Utf8JsonWriter json, string name, params long[] numbers)
    {
        json.WriteStartArray(name);
        foreach (var number in numbers)
        {
            json.WriteNumberValue(number);
        }

        json.WriteEndArray();
    }

    /// <summary>Whether a type can be written.</summary>
    public static bool Holds(ScalarType type) => Types.ContainsValue(type);

    private static (IReadOnlyList<StoredTensor> Tensors, IReadOnlyDictionary<string, string> Metadata) Parse(
        JsonElement header, long dataBytes)
    {
        var (entries, metadata, names) = (new List<Entry>(), new Dictionary<string, string>(), new HashSet<string>());
        foreach (var property in header.EnumerateObject())
        {
            if (!names.Add(property.Name))
            {
                throw new FormatException($"its header has {property.Name} twice");
            }

            if (property.Name == MetadataName)
            {
                foreach (var pair in property.Value.EnumerateObject())
                {
                    metadata[pair.Name] = pair.Value.GetString() ?? throw new FormatException($"its metadata has no text for {pair.Name}");
                }
            }
            else
            {
                entries.Add(ParseEntry(property.Name, property.Value));
            }
        }

        var next = 0L;
        foreach (var entry in entries.OrderBy(entry => entry.Begin).ThenBy(entry => entry.End))
        {
            if (entry.Begin != next)
            {
                var odd = entry.Begin < next ? "inside" : "behind a gap after the end";
                throw new FormatException($"{entry.Name} begins at byte {entry.Begin}, {odd} of another tensor");
            }

            next = entry.End;
        }

        return next == dataBytes
            ? (entries, metadata)
            : throw new FormatException($"its header tells of {next} bytes of values, and {dataBytes} follow it");
    }

    private static Entry ParseEntry(string name, JsonElement value)
    {
        var fields = value.EnumerateObject().Select(field => field.Name).Order(StringComparer.Ordinal);
        if (!fields.SequenceEqual(["data_offsets", "dtype", "shape"]))
        {
            throw new FormatException($"{name} has {string.Join(", ", fields)}, expected dtype, shape and data_offsets");
        }

        var word = value.GetProperty("dtype").GetString() ?? "";
        var shape = Numbers(value.GetProperty("shape"));
        var offsets = Numbers(value.GetProperty("data_offsets"));
        if (!Types.TryGetValue(word, out var type))
        {
            throw new FormatException($"{name} is of type {word}, expected one of {string.Join(", ", Types.Keys)}");
        }

        if (offsets is not [>= 0 and var begin, var end])
        {
            throw new FormatException($"{name} has the data_offsets {string.Join(", ", offsets)}, expected a beginning and an end");
        }

        var entry = new Entry(name, type, shape, begin, end);
        return end >= begin && entry.Bytes == end - begin
            ? entry
            : throw new FormatException($"{name} can't be {entry.Text} in bytes {begin} to {end}");
    }

    private static long[] Numbers(JsonElement array) => [.. array.EnumerateArray().Select(number => number.GetInt64())];

    private sealed record Entry(string Name, ScalarType Type, IReadOnlyList<long> Shape, long Begin, long End)
        : StoredTensor(Name, Type, Shape);
}
