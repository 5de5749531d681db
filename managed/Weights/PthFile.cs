using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using ResNetNodes.Training;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>
/// A .pth of PyTorch 1.6 and later: a zip archive of one folder with data.pkl, the pickle, and data/0, data/1, …, the storages. Metadata
/// stands in a record of its own, which PyTorch leaves alone.
/// </summary>
internal sealed class PthFile : PickledWeights
{
    private const string PickleName = "data.pkl", MetadataName = "metadata.json", StorageFolder = "data/";

    private static readonly byte[] Magic = [(byte)'P', (byte)'K', 3, 4];

    private readonly ZipArchive archive;
    private readonly Dictionary<string, ZipArchiveEntry> records = [];

    public PthFile(string path, Stream stream)
        : base(path)
    {
        try
        {
            archive = new ZipArchive(stream, ZipArchiveMode.Read);
            var folder = Folder(archive.Entries);
            foreach (var entry in archive.Entries)
            {
                var isInside = entry.FullName.StartsWith(folder, StringComparison.Ordinal);
                if (!records.TryAdd(isInside ? entry.FullName[folder.Length..] : "/" + entry.FullName, entry))
                {
                    throw Damaged($"it has {entry.FullName} twice");
                }
            }

            Require();
            using var pickle = new MemoryStream(Bytes(PickleName));
            Take(Unpickled(pickle));
            Metadata = records.ContainsKey(MetadataName)
                ? JsonSerializer.Deserialize(Bytes(MetadataName), TextsJson.Default.DictionaryStringString) ?? []
                : [];
        }
        catch (Exception exception) when (exception is InvalidDataException or EndOfStreamException)
        {
            throw Damaged($"its end is missing, or is no zip archive's: {exception.Message}", exception);
        }
        catch (JsonException exception)
        {
            throw Damaged($"its {MetadataName} holds no texts by name", exception);
        }
    }

    public override IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Whether a file begins as a zip archive does.</summary>
    public static bool IsOne(Stream stream)
    {
        var first = new byte[Magic.Length];
        stream.Position = 0;
        return stream.ReadAtLeast(first, first.Length, throwOnEndOfStream: false) == first.Length && first.AsSpan().SequenceEqual(Magic);
    }

    /// <summary>Writes a file that <c>torch.load</c> reads, with <c>weights_only</c> too.</summary>
    /// <param name="target">Receives it.</param>
    /// <param name="tensors">Tensors by name; those that share their memory do so in the file.</param>
    /// <param name="metadata">Texts beside them.</param>
    public static void Write(
        Stream target, IReadOnlyList<(string Name, Tensor Tensor)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var archive = new ZipArchive(target, ZipArchiveMode.Create, leaveOpen: true);
        var storages = tensors.DistinctBy(t => t.Tensor.Handle).Select((t, i) => (Index: i, t.Tensor))
            .ToDictionary(storage => storage.Tensor.Handle);
        Put(PickleName, Pickler.Write(tensors.Select(t => (t.Name, t.Tensor, storages[t.Tensor.Handle].Index))));
        Put("byteorder", Encoding.ASCII.GetBytes("little"));
        foreach (var (index, tensor) in storages.Values.OrderBy(storage => storage.Index))
        {
            using var record = New($"{StorageFolder}{index}");
            TensorBytes.Read(tensor, record.Write);
        }

        Put("version", Encoding.ASCII.GetBytes("3\n"));
        if (metadata.Count > 0)
        {
            var sorted = new SortedDictionary<string, string>(metadata.ToDictionary(), StringComparer.Ordinal);
            Put(MetadataName, JsonSerializer.SerializeToUtf8Bytes(sorted, TextsJson.Default.SortedDictionaryStringString));
        }

        Stream New(string name)
        {
            // Stored as they are, as PyTorch's, and the same bits at any time.
            var entry = archive.CreateEntry($"archive/{name}", CompressionLevel.NoCompression);
            entry.LastWriteTime = new DateTimeOffset(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);
            return entry.Open();
        }

        void Put(string name, byte[] content)
        {
            using var record = New(name);
            record.Write(content);
        }
    }

    protected override long StorageBytes(PickledStorage storage) =>
        records.TryGetValue(StorageFolder + storage.Key, out var record) ? record.Length : -1;

    // PyTorch stores its records as they are. Where others have compressed one, only unpacking tells whether it can be.
    protected override void CheckStorage(PickledStorage storage)
    {
        var record = records[StorageFolder + storage.Key];
        try
        {
            using var bytes = record.Open();
            if (record.CompressedLength != record.Length)
            {
                var buffer = new byte[1 << 16];
                for (var left = record.Length; left > 0;)
                {
                    var part = buffer.AsSpan(0, (int)Math.Min(left, buffer.Length));
                    bytes.ReadExactly(part);
                    left -= part.Length;
                }
            }
        }
        catch (Exception exception) when (exception is InvalidDataException or EndOfStreamException)
        {
            throw Damaged($"its {record.FullName} can't be unpacked: {exception.Message}", exception);
        }
    }

    protected override void ReadStorage(PickledStorage storage, Tensor target)
    {
        using var record = records[StorageFolder + storage.Key].Open();
        TensorBytes.Write(target, record.ReadExactly);
    }

    protected override void Dispose(bool disposing) => archive.Dispose();

    private static string Folder(IEnumerable<ZipArchiveEntry> entries) =>
        entries.Select(entry => entry.FullName).FirstOrDefault(
            name => name.EndsWith("/" + PickleName, StringComparison.Ordinal) && name.Count(c => c == '/') == 1) is { } found
            ? found[..^PickleName.Length]
            : string.Empty;

    // What else a zip archive may be.
    private void Require()
    {
        if (!records.ContainsKey(PickleName))
        {
            throw new ResNetNodesException($"{Path}: is a zip archive without {PickleName}, so none of PyTorch's");
        }

        if (records.ContainsKey("constants.pkl"))
        {
            throw new ResNetNodesException(
                $"{Path}: is a program of TorchScript; save its weights alone: torch.save(model.state_dict(), ...)");
        }

        if (records.ContainsKey("byteorder") && Encoding.ASCII.GetString(Bytes("byteorder")) is var order && order != "little")
        {
            throw new ResNetNodesException($"{Path}: its numbers are {OneLine.Of(order, 20)}-endian, expected little");
        }
    }

    private byte[] Bytes(string name)
    {
        var record = records[name];
        if (record.Length > MostPickle)
        {
            throw Damaged($"its {name} is {record.Length} bytes long, more than the {MostPickle} that make sense");
        }

        var bytes = new byte[record.Length];
        using var stream = record.Open();
        stream.ReadExactly(bytes);
        return bytes;
    }
}

/// <summary>How texts beside the tensors are written: known when this is compiled, for applications that are trimmed.</summary>
[JsonSerializable(typeof(Dictionary<string, string>))]
[JsonSerializable(typeof(SortedDictionary<string, string>))]
internal sealed partial class TextsJson : JsonSerializerContext;
