using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>docs/reconstructions.md lists the methods that there are: a row for each, and no other.</summary>
public sealed partial class DocsTests
{
    private const string Page = "docs/reconstructions.md";

    [Fact]
    public void Reconstructions_PageHasOneRowForEachMethod()
    {
        var listed = MarkdownTable.Rows(Page, "method").Select(cells => Name().Match(cells[0]).Groups[1].Value);
        Assert.Equal(Offered().Order(StringComparer.Ordinal), listed.Order(StringComparer.Ordinal));
    }

    /// <summary>
    /// The names that the help of --reconstruction lists, without their arguments: `a, b[:k] or c`, behind a colon and a space, if
    /// there are any.
    /// </summary>
    private static IEnumerable<string> Offered()
    {
        var (code, help, error) = Executable.Run("help", "train");
        Assert.True(code == 0, error);
        var entry = Entry().Match(help);
        Assert.True(entry.Success, "help train does not describe --reconstruction");
        var text = Spaces().Replace(entry.Groups[1].Value, " ").Split(". ")[0].Split(": ")[^1];
        return Separator().Split(text).Select(name => name.Split('[')[0].Trim(' ', '.')).Where(name => name.Length > 0);
    }

    [GeneratedRegex(@"--reconstruction METHOD\s((?:.|\n)*?)(?=\n\s+(?:-\w, )?--|\n\n)")]
    private static partial Regex Entry();

    [GeneratedRegex("`([a-z]+)")]
    private static partial Regex Name();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex(@", or |, | or ")]
    private static partial Regex Separator();
}
