using System.Reflection;

namespace ResNetNodes;

/// <summary>The fields of a class and of those that it inherits from, private ones of theirs too.</summary>
internal static class TypeFields
{
    /// <summary>The fields that count.</summary>
    /// <param name="type">The class.</param>
    /// <param name="kinds">Of the instance, static, or both.</param>
    /// <param name="goesOn">Whether a class counts; where one does not, nor do those that it inherits from.</param>
    /// <param name="counts">Whether a field counts.</param>
    public static FieldInfo[] Of(Type type, BindingFlags kinds, Func<Type, bool> goesOn, Func<FieldInfo, bool> counts)
    {
        var fields = new List<FieldInfo>();
        for (var of = type; of is not null && goesOn(of); of = of.BaseType)
        {
            fields.AddRange(of.GetFields(kinds | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly).Where(counts));
        }

        return [.. fields];
    }
}
