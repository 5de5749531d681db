using System.Globalization;
using System.Text;

namespace ResNetNodes.Experiments.Bench;

/// <summary>Tables and numbers of a page.</summary>
internal static class Markdown
{
    private const string Nothing = "–";

    /// <summary>Writes a table without the columns in which no row has anything.</summary>
    public static void Table(StringBuilder page, IReadOnlyList<string> head, IEnumerable<string[]> rows)
    {
        var all = rows.ToList();
        var columns = Enumerable.Range(0, head.Count).Where(i => all.Any(row => row[i] != Nothing)).ToList();
        page.Append("| ").AppendJoin(" | ", columns.Select(i => head[i])).Append(" |\n|");
        page.Insert(page.Length, "---|", columns.Count).Append('\n');
        foreach (var row in all)
        {
            page.Append("| ").AppendJoin(" | ", columns.Select(i => row[i])).Append(" |\n");
        }
    }

    public static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? Nothing;

    public static string Percent(double? value) => value is null ? Nothing : Number(value * 100, "0.0") + " %";

    /// <summary>A median, and the smallest and largest behind it.</summary>
    public static string Range(double? median, double? least, double? most, string format) => median is null
        ? Nothing
        : Number(median, format) + (least is null ? string.Empty : $" ({Number(least, format)}–{Number(most, format)})");

    public static string Inv(FormattableString text) => FormattableString.Invariant(text);
}
