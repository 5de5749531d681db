using System.Text.Json;
using System.Text.Json.Serialization;
using ResNetNodes.Networks;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>What a checkpoint holds besides the bytes of its tensors.</summary>
/// <param name="History">The finished epochs.</param>
/// <param name="Begun">The epoch after them, as far as it has come; null between two epochs.</param>
/// <param name="Facts">What the run depends on; null where a network was saved without a trainer.</param>
/// <param name="Generator">Where LibTorch's global generator was.</param>
/// <param name="Learned">What each stage has learned: float64 numbers as bytes.</param>
/// <param name="Optimizer">The optimizer's numbers; null for a network alone.</param>
/// <param name="Tensors">All tensors, in the order of their bytes.</param>
/// <param name="Network">Which network it is; null for one that there is no description of.</param>
internal sealed record CheckpointHeader(
    IReadOnlyList<EpochMetrics> History,
    BegunEpoch? Begun,
    RunFacts? Facts,
    byte[] Generator,
    IReadOnlyDictionary<string, byte[]> Learned,
    SavedOptimizer? Optimizer,
    IReadOnlyList<SavedTensor> Tensors,
    NetworkDescription? Network)
{
    // Nothing missing, nothing twice, nothing unknown. A loss or an error may be infinite.
    private static readonly JsonSerializerOptions Json = new(JsonSerializerOptions.Strict)
    {
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Converters =
        {
            new JsonStringEnumConverter<ScalarType>(allowIntegerValues: false),
            new JsonStringEnumConverter<TensorRole>(allowIntegerValues: false),
        },
        // Known when this is compiled: a trimmed application has no serialization by reflection.
        TypeInfoResolver = CheckpointJson.Default,
    };

    /// <summary>As it stands in a file.</summary>
    public byte[] ToBytes() => JsonSerializer.SerializeToUtf8Bytes(this, Json);

    /// <summary>Reads what <see cref="ToBytes"/> wrote, and checks that it can be.</summary>
    /// <param name="bytes">The header.</param>
    /// <param name="tensorBytes">What follows it.</param>
    /// <exception cref="FormatException">It is no header, or contradicts itself; a phrase.</exception>
    public static CheckpointHeader Parse(byte[] bytes, long tensorBytes)
    {
        try
        {
            var header = JsonSerializer.Deserialize<CheckpointHeader>(bytes, Json) ?? throw new FormatException("it has no content");
            header.CheckHistory();
            header.CheckParts();
            header.CheckTensors(tensorBytes);
            header.CheckNetwork();
            return header;
        }
        catch (JsonException exception)
        {
            throw new FormatException($"its header can't be read ({exception.Message.Split('\n')[0].TrimEnd('.', '\r')})", exception);
        }
    }

    private void CheckHistory()
    {
        for (var i = 0; i < History.Count; i++)
        {
            if (History[i]?.Epoch != i + 1)
            {
                throw new FormatException($"in its history epoch {i + 1} is missing");
            }
        }

        Begun?.Check(History.Count);
        if (Begun is not null && (Facts?.Data is null || Facts.Epochs < Begun.Epoch))
        {
            throw new FormatException($"its epoch {Begun.Epoch} was begun by no trainer that it tells of");
        }
    }

    // The reader sees a null in the place of a part, not in a list of them.
    private void CheckParts()
    {
        var (groups, facts) = (Optimizer?.Groups ?? [], new[] { Facts?.Run ?? [], Facts?.Data ?? [] });
        if (Facts is { Epochs: < 1 } || Learned.Values.Any(numbers => numbers is null)
            || groups.Any(group => group is null || group.Parameters.Any(state => state is null))
            || facts.Any(list => list.Any(fact => fact is null || fact.Values.Any(value => value is null))
                || list.DistinctBy(fact => fact.Name).Count() < list.Count))
        {
            throw new FormatException("its header has gaps");
        }
    }

    // A description of more weights than there are would take the memory of all of them before anything else is found wrong.
    private void CheckNetwork()
    {
        if (Network?.Problem is { } problem)
        {
            throw new FormatException($"its network can't be: {problem}");
        }

        var numbers = Tensors.Where(tensor => tensor.Role == TensorRole.Network)
            .Sum(tensor => tensor.Shape.Aggregate(1.0, (product, size) => product * size));
        if (Network?.Parameters > numbers)
        {
            throw new FormatException($"its network has {Network.Parameters} parameters, and it holds {numbers} numbers");
        }
    }

    // Bounded by the file before anything is taken for them.
    private void CheckTensors(long tensorBytes)
    {
        var left = tensorBytes;
        var names = new HashSet<(TensorRole, string)>();
        foreach (var tensor in Tensors)
        {
            if (tensor?.Name is null || tensor.Shape is null || !names.Add((tensor.Role, tensor.Name)))
            {
                throw new FormatException($"its list of tensors names {tensor?.Name ?? "nothing"} twice, or lacks a part");
            }

            if (tensor.Bytes < 0 || tensor.Bytes > left || tensor.Bytes != tensor.BytesOfShape())
            {
                throw new FormatException($"{tensor.Name} can't be {tensor.Bytes} bytes, {tensor.Text}");
            }

            left -= tensor.Bytes;
        }

        if (left != 0)
        {
            throw new FormatException($"{left} bytes belong to no tensor");
        }
    }
}

/// <summary>How a header is written, member by member.</summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(CheckpointHeader))]
internal sealed partial class CheckpointJson : JsonSerializerContext;

/// <summary>Whose a tensor is.</summary>
internal enum TensorRole
{
    /// <summary>A parameter or buffer.</summary>
    Network,

    /// <summary>Of an optimizer's state.</summary>
    Optimizer,

    /// <summary>An average of a parameter or buffer.</summary>
    Average,

    /// <summary>How many steps the averages have seen.</summary>
    AverageSteps,
}

/// <summary>A tensor in a checkpoint.</summary>
/// <param name="Role">Whose it is.</param>
/// <param name="Name">Its name there.</param>
/// <param name="Type">Its number type.</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Bytes">How many bytes it takes, row-major.</param>
internal sealed record SavedTensor(TensorRole Role, string Name, ScalarType Type, IReadOnlyList<long> Shape, long Bytes)
{
    /// <summary>Type and shape.</summary>
    public string Text => $"{Type} [{string.Join(", ", Shape)}]";

    /// <exception cref="ResNetNodesException">Its type is none that a checkpoint holds.</exception>
    public static SavedTensor Of(TensorRole role, string name, Tensor tensor)
    {
        var saved = new SavedTensor(role, name, tensor.dtype, tensor.shape, tensor.NumberOfElements * tensor.ElementSize);
        return saved.Bytes == saved.BytesOfShape()
            ? saved
            : throw new ResNetNodesException($"{name}: a checkpoint can't hold {saved.Text}");
    }

    /// <summary>What type and shape make; -1 where they are none.</summary>
    public long BytesOfShape() => TensorBytes.Count(Type, Shape);
}

/// <summary>An optimizer in a checkpoint, without its tensors.</summary>
/// <param name="Class">The name of its class.</param>
/// <param name="Groups">Its groups of parameters.</param>
internal sealed record SavedOptimizer(string Class, IReadOnlyList<SavedGroup> Groups);

/// <summary>A group of parameters.</summary>
/// <param name="Options">Its options, by name.</param>
/// <param name="Parameters">The state of each of its parameters.</param>
internal sealed record SavedGroup(IReadOnlyDictionary<string, string?> Options, IReadOnlyList<SavedState> Parameters);

/// <summary>The numbers of a parameter's state.</summary>
/// <param name="Parameter">The parameter's name in the network.</param>
/// <param name="Numbers">By name.</param>
internal sealed record SavedState(string Parameter, IReadOnlyDictionary<string, string?> Numbers);
