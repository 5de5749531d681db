using System.Reflection;
using System.Text.Json;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Records as rows of named columns: the properties, in snake_case.</summary>
internal static class Rows
{
    public static IReadOnlyDictionary<string, object?> Of(object row) => row as IReadOnlyDictionary<string, object?>
        ?? Properties(row.GetType()).ToDictionary(Key, p => p.GetValue(row));

    public static IEnumerable<string> Keys(Type row) => Properties(row).Select(Key);

    private static IEnumerable<PropertyInfo> Properties(Type row) => row.GetProperties(BindingFlags.Public | BindingFlags.Instance);

    private static string Key(PropertyInfo property) => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name);
}
