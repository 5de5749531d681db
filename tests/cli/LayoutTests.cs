using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The layout of experiments/: namespaces follow folders, arrows go downwards only, lines stay short.</summary>
public sealed class LayoutTests
{
    private const string Prefix = "ResNetNodes.Experiments";

    // From the bottom; a part names those before it.
    private static readonly string[] Layers =
        ["Statistics", "Cli", "Cli.Parsing", "Cli.Options", "Runs", "Figures", "Paper", "Trained", "Bench", "Scaling", ""];

    private static IEnumerable<(string Path, string Layer, string Text)> Sources =>
        Directory.EnumerateFiles(Path.Combine(Executable.Root, "experiments"), "*.cs", SearchOption.AllDirectories).Select(file =>
        {
            var path = Path.GetRelativePath(Path.Combine(Executable.Root, "experiments"), file);
            return (path, Path.GetDirectoryName(path)!.Replace('/', '.'), File.ReadAllText(file));
        });

    [Fact]
    public void Namespaces_FollowFolders() => Assert.All(Sources, source =>
    {
        Assert.Contains(source.Layer, Layers);
        Assert.Contains($"namespace {Full(source.Layer)};\n", source.Text);
    });

    /// <summary>By using lines and by names that begin with a folder's; Program, at the top, is named nowhere.</summary>
    [Fact]
    public void Arrows_GoDownwardsOnly() => Assert.All(Sources, source =>
    {
        var own = Array.IndexOf(Layers, source.Layer);
        var above = Layers[(own + 1)..].Where(layer => layer.Length > 0);
        Assert.All(above, layer =>
        {
            Assert.DoesNotContain($"using {Full(layer)};", source.Text);
            Assert.DoesNotMatch(
                $@"(?<![\w.])({Prefix}\.)?{Regex.Escape(layer)}\.[A-Z]\w*[.(]",
                source.Text.Replace("\"", " ", StringComparison.Ordinal));
        });
        Assert.True(source.Layer.Length == 0 || !Regex.IsMatch(source.Text, @"\bProgram\."), $"{source.Path} names Program");
    });

    [Fact]
    public void Lines_StayShort() => Assert.All(Sources, source =>
        Assert.All(source.Text.Split('\n').Index(), line => Assert.True(line.Item.Length < 140, $"{source.Path}:{line.Index + 1}")));

    /// <summary>The page of the command line is what the tool says of itself.</summary>
    [Fact]
    public void CliPage_IsTheToolsOwnHelp()
    {
        var page = File.ReadAllText(Path.Combine(Executable.Root, "docs", "cli.md"));
        const string remedy = "scripts/write-cli-docs.sh writes docs/cli.md anew";
        Assert.All(Help.Verbs.Select(Help.Of).Prepend(Help.Overview), text =>
            Assert.True(page.Contains(text.Trim(), StringComparison.Ordinal), remedy));
        Assert.Equal(Help.Verbs.Count + 1, Regex.Matches(page, "^## ", RegexOptions.Multiline).Count);
    }

    private static string Full(string layer) => layer.Length > 0 ? $"{Prefix}.{layer}" : Prefix;
}
