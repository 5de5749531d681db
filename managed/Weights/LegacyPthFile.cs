using System.Buffers.Binary;
using ResNetNodes.Training;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>
/// A .pth of PyTorch before 1.6: four pickles (a magic number, a version, facts of the machine, what was saved), one that lists the keys of
/// the storages, and each storage as its number of values (8 bytes) and these.
/// </summary>
internal sealed class LegacyPthFile : PickledWeights
{
    // The number 0x1950a86a20f9469cfc6c as a pickle of protocol 2.
    private static readonly byte[] Magic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.'];

    private readonly Stream stream;
    private readonly Dictionary<string, (long Begin, long Count)> storages = [];

    public LegacyPthFile(string path, Stream stream)
        : base(path)
    {
        this.stream = stream;
        stream.Position = Magic.Length;
        Unpickled(stream);
        if (Unpickled(stream) is Dictionary<object, object?> machine && machine.GetValueOrDefault("little_endian") is false)
        {
            throw new ResNetNodesException($"{path}: its numbers are big-endian, expected little");
        }

        var root = Unpickled(stream);
        FindStorages(Unpickled(stream) as List<object?> ?? throw Damaged("it does not list its storages"));
        Take(root);
    }

    public override IReadOnlyDictionary<string, string> Metadata { get; } = new Dictionary<string, string>();

    /// <summary>Whether a file begins with the magic number.</summary>
    public static bool IsOne(Stream stream)
    {
        var first = new byte[Magic.Length];
        stream.Position = 0;
        return stream.ReadAtLeast(first, first.Length, throwOnEndOfStream: false) == first.Length && first.AsSpan().SequenceEqual(Magic);
    }

    protected override long StorageBytes(PickledStorage storage) =>
        storages.TryGetValue(storage.Key, out var found) ? TensorBytes.Count(storage.Type, [found.Count]) : -1;

    protected override void ReadStorage(PickledStorage storage, Tensor target)
    {
        stream.Position = storages[storage.Key].Begin;
        TensorBytes.Write(target, stream.ReadExactly);
    }

    protected override void Dispose(bool disposing) => stream.Dispose();

    private void FindStorages(List<object?> keys)
    {
        Span<byte> number = stackalloc byte[sizeof(long)];
        foreach (var key in keys)
        {
            if (key is not string name || !Storages.TryGetValue(name, out var storage) || stream.Length - stream.Position < sizeof(long))
            {
                throw Damaged("it ends before its last storage, or lists one that no tensor has");
            }

            stream.ReadExactly(number);
            var count = BinaryPrimitives.ReadInt64LittleEndian(number);
            var bytes = TensorBytes.Count(storage.Type, [count]);
            if (bytes < 0 || bytes > stream.Length - stream.Position || !storages.TryAdd(name, (stream.Position, count)))
            {
                throw Damaged($"its storage {name} can't have {count} values");
            }

            stream.Position += bytes;
        }
    }
}
