using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.Json;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Records as rows of named columns: the properties, in snake_case.</summary>
internal static class Rows
{
    private static readonly JsonSerializerOptions Format = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

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

    /// <summary>A record as a JSON object, in one line.</summary>
    public static string Json(object row) => JsonSerializer.Serialize(Of(row), Format);

    /// <summary>The rows of one kind among the lines that a verb writes with --json.</summary>
    public static List<T> Parse<T>(string lines)
    {
        var keys = Keys(typeof(T)).ToHashSet();
        return
        [
            .. lines.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Where(line => JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(line)!.Keys.ToHashSet().SetEquals(keys))
                .Select(line => JsonSerializer.Deserialize<T>(line, Format)!),
        ];
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
