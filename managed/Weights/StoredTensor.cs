using ResNetNodes.Training;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>A tensor in a file of weights.</summary>
/// <param name="Name">Its name there.</param>
/// <param name="Type">Its number type.</param>
/// <param name="Shape">Its shape.</param>
internal abstract record StoredTensor(string Name, ScalarType Type, IReadOnlyList<long> Shape)
{
    /// <summary>Type and shape.</summary>
    public string Text => TextOf(Type, Shape);

    /// <summary>The bytes of its values; -1 where there is no tensor of this type and shape.</summary>
    public long Bytes => TensorBytes.Count(Type, Shape);

    /// <summary>Type and shape, as messages have them.</summary>
    public static string TextOf(ScalarType type, IReadOnlyList<long> shape) => $"{type} [{string.Join(", ", shape)}]";
}
