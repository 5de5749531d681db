using System.Collections;
using System.Collections.Concurrent;
using System.Reflection;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>
/// The tensors that modules keep in their fields, such as a mask that one has cached: they outlive the call that made them. Found
/// through collections, tuples, delegates and objects of the user's, and in modules that the call itself has made.
/// </summary>
internal static class OwnedTensors
{
    private static readonly ConcurrentDictionary<Type, FieldInfo[]> Fields = new();

    /// <summary>Those of the modules that can keep tensors.</summary>
    // TorchSharp's own keep nothing that a call makes.
    public static List<nn.Module> Owners(IEnumerable<nn.Module> modules) =>
        [.. modules.Where(module => !IsOpaque(module.GetType())).Distinct()];

    /// <summary>Which of these tensors one of the modules keeps.</summary>
    public static List<Tensor> Among(IEnumerable<Tensor> tensors, IReadOnlyList<nn.Module> modules)
    {
        if (modules.Count == 0)
        {
            return [];
        }

        var seen = new HashSet<object>(ReferenceEqualityComparer.Instance);
        foreach (var module in modules)
        {
            Visit(module, seen);
        }

        return seen.Any(found => found is Tensor) ? [.. tensors.Where(seen.Contains)] : [];
    }

    private static void Visit(object? value, HashSet<object> seen)
    {
        if (value is null || !MayHold(value.GetType()) || (!value.GetType().IsValueType && !seen.Add(value)))
        {
            return;
        }

        switch (value)
        {
            case Tensor:
                break;
            case nn.Module module when IsOpaque(module.GetType()):
                foreach (var tensor in module.parameters(recurse: false).Concat(module.buffers(recurse: false)))
                {
                    seen.Add(tensor);
                }

                foreach (var (_, part) in module.named_children())
                {
                    Visit(part, seen);
                }

                break;
            case Delegate function:
                foreach (var part in function.GetInvocationList())
                {
                    Visit(part.Target, seen);
                }

                break;
            case IEnumerable items when IsCollection(value.GetType()):
                foreach (var item in items)
                {
                    Visit(item, seen);
                }

                break;
            default:
                foreach (var field in Fields.GetOrAdd(value.GetType(), FieldsOf))
                {
                    Visit(field.GetValue(value), seen);
                }

                break;
        }
    }

    // Those that may hold a tensor, static ones too, of the class itself and of those that it inherits from.
    private static FieldInfo[] FieldsOf(Type type) =>
        TypeFields.Of(type, BindingFlags.Instance | BindingFlags.Static, of => !IsOpaque(of), field => MayHold(field.FieldType));

    private static bool MayHold(Type type) =>
        type.IsInterface || type == typeof(object) || typeof(Delegate).IsAssignableFrom(type)
        || typeof(Tensor).IsAssignableFrom(type) || typeof(nn.Module).IsAssignableFrom(type)
        || IsCollection(type) || !(type.IsPrimitive || type.IsEnum || type.IsPointer || IsOpaque(type));

    private static bool IsCollection(Type type) =>
        type.IsArray
            ? MayHold(type.GetElementType()!)
            : type.Namespace?.StartsWith("System.Collections", StringComparison.Ordinal) ?? false;

    // What TorchSharp, this library and the run time are made of; tuples and their like are not.
    private static bool IsOpaque(Type type) =>
        type.Assembly == typeof(Tensor).Assembly || type.Assembly == typeof(OwnedTensors).Assembly
        || (type.Namespace?.Split('.')[0] == nameof(System) && !type.IsGenericType);
}
