using System.Globalization;
using System.Reflection;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// What an optimizer of TorchSharp, or of its user, remembers: the fields of its options and of its state of each parameter, tensors and
/// numbers. TorchSharp's own files of it hold all tensors at once and are not checked.
/// </summary>
internal static class OptimizerFields
{
    /// <summary>The tensors of a state that are there, by name.</summary>
    public static IEnumerable<(string Name, Tensor Tensor)> Tensors(OptimizerState state) =>
        Of(state).Where(IsTensor).Select(field => (NameOf(field), (Tensor?)field.GetValue(state))).Where(t => t.Item2 is not null)!;

    /// <summary>The numbers of options or of a state as text, by name.</summary>
    /// <exception cref="ResNetNodesException">A field of another kind.</exception>
    public static Dictionary<string, string?> Numbers(object owner) =>
        Of(owner).Where(field => !IsTensor(field)).ToDictionary(NameOf, field => NumberOf(field) switch
        {
            null => throw new ResNetNodesException(
                $"optimizer: {field.DeclaringType} keeps {NameOf(field)}, a {field.FieldType.Name}; a checkpoint holds tensors, "
                + "numbers and flags"),
            _ => Convert.ToString(field.GetValue(owner), CultureInfo.InvariantCulture) is { Length: > 0 } text ? text : null,
        });

    /// <summary>Reads the numbers of options or of a state.</summary>
    /// <param name="owner">Whose.</param>
    /// <param name="texts">As <see cref="Numbers"/> wrote them.</param>
    /// <returns>What sets them; it can't fail.</returns>
    /// <exception cref="FormatException">They are others.</exception>
    public static Action Reader(object owner, IReadOnlyDictionary<string, string?> texts)
    {
        var fields = Of(owner).Where(field => !IsTensor(field)).ToDictionary(NameOf);
        if (!fields.Keys.ToHashSet().SetEquals(texts.Keys))
        {
            throw new FormatException($"its optimizer keeps {string.Join(", ", texts.Keys)}, here {string.Join(", ", fields.Keys)}");
        }

        var values = fields.Select(named => (named.Value, Value: Parse(named.Value, texts[named.Key]))).ToList();
        return () => values.ForEach(pair => pair.Item1.SetValue(owner, pair.Value));
    }

    /// <summary>The fields of a state that hold tensors, by name.</summary>
    public static Dictionary<string, FieldInfo> TensorFields(OptimizerState state) => Of(state).Where(IsTensor).ToDictionary(NameOf);

    /// <summary>Whether a parameter's state begins without a tensor.</summary>
    public static bool BeginsWithout(FieldInfo field, Parameter parameter, OptimizerState like, OptimizerOptions options)
    {
        if (Activator.CreateInstance(like.GetType(), parameter) is not OptimizerState fresh)
        {
            return false;
        }

        using var scope = NewDisposeScope();
        fresh.Initialize(options);
        var missing = field.GetValue(fresh) is null;
        foreach (var (_, tensor) in Tensors(fresh))
        {
            tensor.Dispose();
        }

        return missing;
    }

    private static object? Parse(FieldInfo field, string? text)
    {
        if (text is null)
        {
            return Nullable.GetUnderlyingType(field.FieldType) is not null
                ? null
                : throw new FormatException($"its optimizer's {NameOf(field)} is missing");
        }

        try
        {
            return Convert.ChangeType(text, NumberOf(field)!, CultureInfo.InvariantCulture);
        }
        catch (Exception exception) when (exception is FormatException or OverflowException)
        {
            throw new FormatException($"its optimizer's {NameOf(field)} can't be {text}", exception);
        }
    }

    // An OptimizerState's own field is the parameter.
    private static FieldInfo[] Of(object owner) =>
        TypeFields.Of(owner.GetType(), BindingFlags.Instance, of => of != typeof(OptimizerState) && of != typeof(object), _ => true);

    private static bool IsTensor(FieldInfo field) => typeof(Tensor).IsAssignableFrom(field.FieldType);

    private static Type? NumberOf(FieldInfo field)
    {
        var type = Nullable.GetUnderlyingType(field.FieldType) ?? field.FieldType;
        return type.IsPrimitive ? type : null;
    }

    // Of a property as it is called.
    private static string NameOf(FieldInfo field) =>
        field.Name.StartsWith('<') ? field.Name[1..field.Name.IndexOf('>', StringComparison.Ordinal)] : field.Name;
}
