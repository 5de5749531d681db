namespace ResNetNodes.Cli.Tests;

/// <summary>Tables of the documentation's pages.</summary>
internal static class MarkdownTable
{
    /// <summary>The cells of all rows below a header whose first cell is this, of every such table of the page.</summary>
    public static IReadOnlyList<string[]> Rows(string page, string header)
    {
        var rows = new List<string[]>();
        var inside = false;
        foreach (var line in File.ReadLines(Path.Combine(Executable.Root, page)))
        {
            var cells = line.StartsWith('|') ? line.Trim().Trim('|').Split('|').Select(cell => cell.Trim()).ToArray() : [];
            if (cells.Length > 0 && inside && !cells[0].StartsWith("---", StringComparison.Ordinal))
            {
                rows.Add(cells);
            }

            inside = cells.Length > 0 && (inside || cells[0] == header);
        }

        return rows;
    }
}
