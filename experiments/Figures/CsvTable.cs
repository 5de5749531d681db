using System.Text;
using Microsoft.VisualBasic.FileIO;

namespace ResNetNodes.Experiments.Figures;

/// <summary>A table as runs write it: a head, and rows of as many cells.</summary>
/// <param name="Columns">The head.</param>
/// <param name="Rows">What stands below it.</param>
internal sealed record CsvTable(IReadOnlyList<string> Columns, IReadOnlyList<IReadOnlyList<string>> Rows)
{
    /// <summary>Reads a table.</summary>
    /// <param name="path">What errors call it.</param>
    /// <param name="content">The file.</param>
    /// <exception cref="ResNetNodesException">It is empty, a quote is not closed, or a row has another number of cells.</exception>
    public static CsvTable Parse(string path, byte[] content)
    {
        using var parser = new TextFieldParser(new MemoryStream(content), Encoding.UTF8)
        {
            Delimiters = [","],
            HasFieldsEnclosedInQuotes = true,
            TrimWhiteSpace = false,
        };
        try
        {
            var columns = parser.ReadFields()
                ?? throw new ResNetNodesException($"{path}: is empty, expected a table; run it again with --overwrite");
            var rows = new List<IReadOnlyList<string>>();
            while (parser.ReadFields() is { } cells)
            {
                rows.Add(cells.Length == columns.Length
                    ? cells
                    : throw new ResNetNodesException(
                        $"{path}: row {rows.Count + 1} has {cells.Length} cells, expected {columns.Length} as its head; "
                        + "run it again with --overwrite"));
            }

            return new(columns, rows);
        }
        catch (MalformedLineException exception)
        {
            throw new ResNetNodesException(
                $"{path}: line {exception.LineNumber} has quotes that do not match; run it again with --overwrite", exception);
        }
    }
}
