using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Pages that list what the program knows list all of it, and nothing else.</summary>
public sealed partial class DocsTests
{
    private const string Page = "docs/reconstructions.md";

    [Fact]
    public void Reconstructions_PageHasOneRowForEachMethod() =>
        Assert.Equal(Offered("--reconstruction"), Listed("method"));

    [Fact]
    public void Reconstructions_PageHasOneRowForEachSolver() =>
        Assert.Equal(Offered("--solver"), Listed("solver"));

    /// <summary>Names in the first column, without the forms that have an argument, sorted.</summary>
    private static List<string> Listed(string header) =>
        [.. MarkdownTable.Rows(Page, header).Select(cells => Name().Match(cells[0]).Groups[1].Value).Order(StringComparer.Ordinal)];

    /// <summary>The values that help offers for an option: `a|b|c` behind its name, or the list that its text begins with.</summary>
    private static List<string> Offered(string option)
    {
        var (code, help, error) = Executable.Run("help", "train");
        Assert.True(code == 0, error);
        var entry = Regex.Match(help, $@"{option} (\S+)\s+((?:.|\n)*?)(?=\n\s+(?:-\w, )?--|\n\n)");
        Assert.True(entry.Success, $"help train does not describe {option}");
        var values = entry.Groups[1].Value;
        var names = values.Contains('|', StringComparison.Ordinal) ? values.Split('|') : Listing().Split(entry.Groups[2].Value.Split('.')[0]);
        return [.. names.Select(name => name.Split('[', ':')[0].Trim()).Where(name => name.Length > 0).Order(StringComparer.Ordinal)];
    }

    [GeneratedRegex("`([a-z]+)")]
    private static partial Regex Name();

    [GeneratedRegex(@",\s+(?:or\s+)?|\s+or\s+")]
    private static partial Regex Listing();
}
