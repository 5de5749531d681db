using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Records as rows of named columns: the properties, in snake_case.</summary>
internal static class Rows
{
    public static IReadOnlyDictionary<string, object?> Of(object row) => row as IReadOnlyDictionary<string, object?>
        ?? Properties(row.GetType()).ToDictionary(Key, p => p.GetValue(row));

    /// <summary>Records as CSV; columns are those of the first.</summary>
    /// <param name="records">At least one.</param>
    public static string Csv<T>(IReadOnlyList<T> records)
        where T : notnull
    {
        var rows = records.Select(record => Of(record)).ToList();
        var columns = rows[0].Keys.ToList();
        var text = new StringBuilder().AppendJoin(',', columns).Append('\n');
        foreach (var row in rows)
        {
            text.AppendJoin(',', columns.Select(c => Cell(row.GetValueOrDefault(c)))).Append('\n');
        }

        return text.ToString();
    }

    public static IEnumerable<string> Keys(Type row) => Properties(row).Select(Key);

    private static IEnumerable<PropertyInfo> Properties(Type row) => row.GetProperties(BindingFlags.Public | BindingFlags.Instance);

    private static string Cell(object? value) => value switch
    {
        null => string.Empty,
        double d => d.ToString("R", CultureInfo.InvariantCulture),
        string s when s.Contains(',') || s.Contains('"') => $"\"{s.Replace("\"", "\"\"", StringComparison.Ordinal)}\"",
        IFormattable f => f.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? string.Empty,
    };

    private static string Key(PropertyInfo property) => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name);
}
