using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The pages as a whole: each has its place in the table of contents, and links lead somewhere, to a heading too.</summary>
public sealed partial class SiteTests
{
    private static readonly string[] AtRoot = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

    private static IReadOnlyList<string> Pages { get; } =
    [
        .. Directory.EnumerateFiles(Path.Combine(Executable.Root, "docs"), "*.md", SearchOption.AllDirectories)
            .Select(file => Path.GetRelativePath(Executable.Root, file)).Concat(AtRoot).Order(StringComparer.Ordinal),
    ];

    [Fact]
    public void Contents_NameEachPageOnce()
    {
        var contents = File.ReadAllText(Path.Combine(Executable.Root, "docs/toc.yml"));
        var named = Entry().Matches(contents).Select(match => Normal("docs", match.Groups[1].Value))
            .Where(path => path.EndsWith(".md", StringComparison.Ordinal)).ToList();
        Assert.Equal(Pages, named.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Links_LeadSomewhere()
    {
        var links = from page in Pages.Append("site/index.md")
                    from match in Link().Matches(WithoutCode(File.ReadAllText(Path.Combine(Executable.Root, page))))
                    let target = match.Groups[1].Value
                    where !target.Contains(':', StringComparison.Ordinal)
                    select (page, target);
        Assert.True(links.Count() > 50);
        Assert.All(links, link =>
        {
            var (file, heading) = link.target.Split('#') switch { var parts => (parts[0], parts.ElementAtOrDefault(1)) };
            var path = file.Length > 0 ? Normal(Path.GetDirectoryName(link.page)!, file) : link.page;
            // The site has no listings of folders.
            Assert.True(File.Exists(Path.Combine(Executable.Root, path)), $"{link.page}: {link.target} is no file");
            Assert.True(
                heading is null || Headings(path).Contains(heading), $"{link.page}: {path} has no heading #{heading}");
        });
    }

    // As GitHub and docfx name them.
    private static IEnumerable<string> Headings(string page) =>
        Heading().Matches(WithoutFences(File.ReadAllText(Path.Combine(Executable.Root, page))))
            .Select(match => NoPartOfAName().Replace(match.Groups[1].Value.ToLowerInvariant(), string.Empty).Replace(' ', '-'));

    private static string WithoutFences(string text) => Fence().Replace(text, string.Empty);

    private static string WithoutCode(string text) => Span().Replace(WithoutFences(text), string.Empty);

    private static string Normal(string folder, string path) =>
        Path.GetRelativePath(Executable.Root, Path.GetFullPath(Path.Combine(Executable.Root, folder, path)));

    [GeneratedRegex(@"^ *href: (\S+)$", RegexOptions.Multiline)]
    private static partial Regex Entry();

    [GeneratedRegex(@"\]\(([^()\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"^#+ (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"[^\p{L}\p{N}\- _]")]
    private static partial Regex NoPartOfAName();

    [GeneratedRegex(@"^```[\s\S]*?^```$", RegexOptions.Multiline)]
    private static partial Regex Fence();

    [GeneratedRegex("`[^`\n]*`")]
    private static partial Regex Span();
}
