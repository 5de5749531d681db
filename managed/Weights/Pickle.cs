using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>What a pickle of PyTorch may be made of beside numbers, texts, bytes, lists, tuples and dictionaries.</summary>
internal static class Pickle
{
    /// <summary>PyTorch's classes of storages, and the numbers that they hold.</summary>
    public static IReadOnlyDictionary<string, ScalarType> Storages { get; } = new Dictionary<string, ScalarType>
    {
        ["BoolStorage"] = ScalarType.Bool,
        ["ByteStorage"] = ScalarType.Byte,
        ["CharStorage"] = ScalarType.Int8,
        ["ShortStorage"] = ScalarType.Int16,
        ["IntStorage"] = ScalarType.Int32,
        ["LongStorage"] = ScalarType.Int64,
        ["HalfStorage"] = ScalarType.Float16,
        ["BFloat16Storage"] = ScalarType.BFloat16,
        ["FloatStorage"] = ScalarType.Float32,
        ["DoubleStorage"] = ScalarType.Float64,
    };

    /// <summary>What may be called: each makes a value of its arguments and does nothing else.</summary>
    public static IReadOnlyDictionary<Global, Func<object?[], object?>> Calls { get; } = new Dictionary<Global, Func<object?[], object?>>
    {
        [new("collections", "OrderedDict")] = Dictionary,
        [new("torch", "Size")] = arguments => arguments is [object?[] sizes] ? sizes : throw Odd("torch.Size"),
        [new("torch._utils", "_rebuild_tensor_v2")] = Tensor,
        [new("torch._utils", "_rebuild_parameter")] = arguments =>
            arguments is [PickledTensor tensor, ..] ? tensor : throw Odd("_rebuild_parameter"),
    };

    /// <summary>An error about a call.</summary>
    public static FormatException Odd(string what) => new($"{what} has arguments that it does not take");

    private static Dictionary<object, object?> Dictionary(object?[] arguments)
    {
        var pairs = arguments.Length == 0 ? [] : arguments.Length == 1 ? Items(arguments[0]) : throw Odd("OrderedDict");
        var dictionary = new Dictionary<object, object?>();
        foreach (var pair in pairs)
        {
            var (key, value) = Items(pair) is [{ } k, var v] ? (k, v) : throw Odd("OrderedDict");
            dictionary[key] = value;
        }

        return dictionary;
    }

    private static IList<object?> Items(object? value) => value as IList<object?> ?? throw Odd("OrderedDict");

    // Storage, offset, size, stride; what follows says how it would be trained.
    private static PickledTensor Tensor(object?[] arguments) =>
        arguments is [PickledStorage storage, long offset, object?[] size, object?[] stride, ..] && size.Length == stride.Length
            ? new(storage, offset, [.. size.Select(Whole)], [.. stride.Select(Whole)])
            : throw Odd("_rebuild_tensor_v2");

    private static long Whole(object? value) => value as long? ?? throw Odd("_rebuild_tensor_v2");
}

/// <summary>A class or function of Python that a pickle names.</summary>
/// <param name="Module">Its module.</param>
/// <param name="Name">Its name there.</param>
internal sealed record Global(string Module, string Name)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Module}.{Name}";
}

/// <summary>Values in a row that tensors are views of.</summary>
/// <param name="Type">Their number type.</param>
/// <param name="Key">Where they are.</param>
/// <param name="Count">How many there are.</param>
internal sealed record PickledStorage(ScalarType Type, string Key, long Count);

/// <summary>A view of a storage.</summary>
/// <param name="Storage">The storage.</param>
/// <param name="Offset">Its first value there.</param>
/// <param name="Size">Its shape.</param>
/// <param name="Stride">Values between neighbours along each dimension.</param>
internal sealed record PickledTensor(PickledStorage Storage, long Offset, long[] Size, long[] Stride);
