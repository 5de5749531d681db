using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>
/// The tutorial on figure 3c: its commands run, its folders hold what it says, and its rows are those of the measured page.
/// </summary>
public sealed class TutorialTests : IDisposable
{
    private const string Page = "docs/tutorials/reproduce-figure-3c.md";

    private readonly string folder = Directory.CreateTempSubdirectory("tutorial").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>In their order, on less: the preset smoke, one depth and one solver.</summary>
    [Fact]
    public void Commands_Run()
    {
        var commands = File.ReadLines(Path.Combine(Executable.Root, Page))
            .Where(line => line.StartsWith("./resnet-nodes ", StringComparison.Ordinal)).ToList();
        Assert.Equal(5, commands.Count);
        foreach (var command in commands)
        {
            string[] words = [.. command.Split(' ')[1..].Select(word => word.Replace("runs/", folder + "/", StringComparison.Ordinal))];
            if (Array.IndexOf(words, "--preset") is >= 0 and var preset)
            {
                words[preset + 1] = "smoke";
                words = [.. words, "--limit", "50", "--solvers", "euler"];
            }

            if (Array.IndexOf(words, "--depths") is >= 0 and var depths)
            {
                words[depths + 1] = "2";
            }

            var (code, _, error) = Executable.Run(words);
            Assert.True(code == 0, $"{command}: {error}");
        }

        var names = MarkdownTable.Rows(Page, "file").SelectMany(cells => cells[0].Split(", ")).Select(name => name.Trim('`'))
            .Where(name => name != "…").ToList();
        Assert.Equal(6, names.Count);
        Assert.All(names, name => Assert.True(Path.Exists(Path.Combine(folder, "figure-3c-smoke", name)), name));
        Assert.True(File.Exists(Path.Combine(folder, "figure-3c-report", "report.html")));
    }

    [Fact]
    public void Rows_AreThoseThatWereMeasured()
    {
        var measured = File.ReadAllLines(Path.Combine(Executable.Root, "docs/reproducing.md"));
        var quoted = File.ReadLines(Path.Combine(Executable.Root, Page))
            .Where(line => line.StartsWith('|') && line.Contains('±', StringComparison.Ordinal)).ToList();
        Assert.Equal(2, quoted.Count);
        Assert.All(quoted, row => Assert.Contains(row, measured));
        // What the page says of either.
        Assert.EndsWith("| holds |", quoted[0]);
        Assert.EndsWith("| can't be decided |", quoted[1]);
    }
}
