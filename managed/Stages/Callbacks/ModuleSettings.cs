using System.Collections.Concurrent;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>What a module computes with besides tensors and mode: numbers, flags and texts, such as a dropout's p, and hooks.</summary>
internal static class ModuleSettings
{
    private static readonly ConcurrentDictionary<Type, FieldInfo[]> Fields = new();
    private static readonly ConditionalWeakTable<nn.Module, object> Changing = [];

    /// <summary>
    /// Runs a forward pass, and notes which modules change settings of their own in it: a counter, the last batch's size.
    /// </summary>
    public static T Watch<T>(IReadOnlyList<nn.Module> modules, Func<T> pass)
    {
        int[] before = [.. modules.Select(Hash)];
        var outcome = pass();
        for (var i = 0; i < before.Length; i++)
        {
            if (Hash(modules[i]) != before[i])
            {
                Changing.GetOrCreateValue(modules[i]);
            }
        }

        return outcome;
    }

    /// <summary>Whether a module changes settings of its own while it runs: what they are between two passes then says nothing.</summary>
    public static bool AreOwn(nn.Module module) => Changing.TryGetValue(module, out _);

    /// <summary>A number that changes with the settings.</summary>
    public static int Hash(nn.Module module)
    {
        var hash = default(HashCode);
        foreach (var field in Fields.GetOrAdd(module.GetType(), FieldsOf))
        {
            switch (field.GetValue(module))
            {
                case long[] sizes:
                    hash.AddBytes(MemoryMarshal.AsBytes(sizes.AsSpan()));
                    break;
                case System.Collections.ICollection hooks:
                    hash.Add(hooks.Count);
                    break;
                case var value:
                    hash.Add(value);
                    break;
            }
        }

        return hash.ToHashCode();
    }

    // All but nn.Module's own, which says where the module is and what it is called.
    private static FieldInfo[] FieldsOf(Type type) =>
        TypeFields.Of(type, BindingFlags.Instance, of => of != typeof(nn.Module), field => IsHooks(field) || IsSetting(field.FieldType));

    private static bool IsHooks(FieldInfo field) =>
        field.DeclaringType is { IsGenericType: true } of && of.GetGenericTypeDefinition() == typeof(nn.HookableModule<,>);

    private static bool IsSetting(Type type) =>
        type.IsPrimitive || type.IsEnum || type == typeof(string) || type == typeof(decimal) || type == typeof(long[])
        || (Nullable.GetUnderlyingType(type) is { } inner && IsSetting(inner));
}
