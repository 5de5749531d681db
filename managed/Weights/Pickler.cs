using System.Buffers.Binary;
using System.Text;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>
/// Writes the pickle (protocol 2) of tensors by name, as <c>torch.save(model.state_dict())</c> does: an OrderedDict of calls of
/// <c>_rebuild_tensor_v2</c>.
/// </summary>
internal static class Pickler
{
    /// <summary>The pickle.</summary>
    /// <param name="tensors">Name, tensor, and the number of the record that holds its values row-major.</param>
    public static byte[] Write(IEnumerable<(string Name, Tensor Tensor, int Record)> tensors)
    {
        using var pickle = new MemoryStream();
        pickle.Write([0x80, 2]);
        Global(pickle, "collections", "OrderedDict");
        Text(pickle, ")R(");
        foreach (var (name, tensor, record) in tensors)
        {
            String(pickle, name);
            Global(pickle, "torch._utils", "_rebuild_tensor_v2");
            Text(pickle, "((");
            String(pickle, "storage");
            Global(pickle, "torch", Pickle.Storages.Single(storage => storage.Value == tensor.dtype).Key);
            String(pickle, $"{record}");
            String(pickle, "cpu");
            Number(pickle, tensor.NumberOfElements);
            Text(pickle, "tQ");
            Number(pickle, 0);
            Tuple(pickle, tensor.shape);
            Tuple(pickle, Strides(tensor.shape));
            pickle.WriteByte(0x89); // needs no gradient
            Global(pickle, "collections", "OrderedDict");
            Text(pickle, ")RtR");
        }

        Text(pickle, "u.");
        return pickle.ToArray();
    }

    /// <summary>Whether a type can be written.</summary>
    public static bool Holds(ScalarType type) => Pickle.Storages.Values.Contains(type);

    private static long[] Strides(long[] shape)
    {
        var strides = new long[shape.Length];
        var step = 1L;
        for (var d = shape.Length - 1; d >= 0; d--)
        {
            strides[d] = step;
            step *= Math.Max(shape[d], 1);
        }

        return strides;
    }

    private static void Global(Stream pickle, string module, string name) => Text(pickle, $"c{module}\n{name}\n");

    private static void Text(Stream pickle, string text) => pickle.Write(Encoding.ASCII.GetBytes(text));

    private static void String(Stream pickle, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
        pickle.WriteByte((byte)'X');
        pickle.Write(length);
        pickle.Write(bytes);
    }

    private static void Tuple(Stream pickle, long[] numbers)
    {
        Text(pickle, "(");
        foreach (var number in numbers)
        {
            Number(pickle, number);
        }

        Text(pickle, "t");
    }

    // As 4 bytes, or as 8 where it takes more.
    private static void Number(Stream pickle, long number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
        if (number <= int.MaxValue)
        {
            Text(pickle, "J");
            pickle.Write(bytes[..sizeof(int)]);
        }
        else
        {
            pickle.Write([0x8a, sizeof(long)]);
            pickle.Write(bytes);
        }
    }
}
