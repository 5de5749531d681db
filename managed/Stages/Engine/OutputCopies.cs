using System.Reflection;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>
/// TorchSharp's node of an autograd function keeps an empty tensor like each output, of the same size, from which it would make zeros for
/// an undefined gradient. A function that takes undefined gradients has no use for it. TorchSharp keeps it to itself; its version is
/// pinned, and tests ask.
/// </summary>
internal static class OutputCopies
{
    private static readonly FieldInfo? Node = Field(typeof(autograd.AutogradContext), "_node");
    private static FieldInfo? copies;

    /// <summary>Frees those of a call of an autograd function that has set <c>set_materialize_grads(false)</c>.</summary>
    public static void Free(autograd.AutogradContext context)
    {
        if (Node?.GetValue(context) is { } node && (copies ??= Field(node.GetType(), "_outputCache"))?.GetValue(node) is List<Tensor> kept)
        {
            kept.ForEach(copy => copy?.Dispose());
        }
    }

    private static FieldInfo? Field(Type type, string name) => type.GetField(name, BindingFlags.Instance | BindingFlags.NonPublic);
}
