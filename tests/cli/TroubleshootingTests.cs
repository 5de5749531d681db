using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>
/// docs/troubleshooting.md quotes messages that exist. In a quoted message `…` stands for what varies; the text between has to
/// be found, in that order and close together, in one source file, where literals that are joined count as one.
/// </summary>
public sealed partial class TroubleshootingTests
{
    private const string Page = "docs/troubleshooting.md";

    /// <summary>How far apart the parts of one message may be in its source.</summary>
    private const int Reach = 600;

    /// <summary>Whose messages are not looked up: they come from outside of this repository.</summary>
    private static readonly string[] Others = ["dynamic loader", "LibTorch", ".NET"];

    private static readonly Lazy<IReadOnlyList<string>> Sources = new(() =>
    [
        .. new[] { "native/src", "native/transports", "native/include", "managed", "experiments", "interop", "scripts" }
            .SelectMany(folder => Directory.EnumerateFiles(Path.Combine(Executable.Root, folder), "*", SearchOption.AllDirectories))
            .Where(file => Path.GetExtension(file) is ".cpp" or ".h" or ".cs" or ".i" or ".sh" or ".py")
            .Append(Path.Combine(Executable.Root, "build.sh"))
            .Select(file => JoinOfLiterals().Replace(File.ReadAllText(file), string.Empty)),
    ]);

    public static TheoryData<string, string> Messages()
    {
        var data = new TheoryData<string, string>();
        foreach (var cells in MarkdownTable.Rows(Page, "message"))
        {
            data.Add(cells[0].Trim('`'), cells[1]);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Messages))]
    public void Message_IsInTheSources(string message, string from)
    {
        if (Others.Contains(from))
        {
            return;
        }

        Assert.True(
            from == "ResNet Nodes",
            $"{Page}, row '{message}': from is '{from}', expected ResNet Nodes, {string.Join(", ", Others)}");
        var parts = message.Split('…', StringSplitOptions.RemoveEmptyEntries)
            .Select(part => part.Trim()).Where(part => part.Any(char.IsLetter)).ToList();
        Assert.True(parts.Sum(part => part.Length) >= 8, $"{Page}, row '{message}': too little of it is fixed to be looked up");
        Assert.True(
            Sources.Value.Any(source => Holds(source, parts)),
            $"{Page}, row '{message}': no source file has this message; quote it as it is, with … for what varies");
    }

    [Fact]
    public void Lookup_RefusesWhatNoSourceSays()
    {
        Assert.False(Holds("throw Error(\"x is \" + text + \", expected 3\")", ["x is", "expected 4"]));
        Assert.False(Holds("expected 3, x is", ["x is", "expected 3"]));
        Assert.True(Holds("throw Error(\"x is \" + text + \", expected 3\")", ["x is", "expected 3"]));
    }

    private static bool Holds(string source, IReadOnlyList<string> parts)
    {
        for (
            var first = source.IndexOf(parts[0], StringComparison.Ordinal);
            first >= 0;
            first = source.IndexOf(parts[0], first + 1, StringComparison.Ordinal))
        {
            var at = first + parts[0].Length;
            var rest = parts.Skip(1).All(part =>
            {
                var next = source.IndexOf(part, at, Math.Min(Reach, source.Length - at), StringComparison.Ordinal);
                at = next + part.Length;
                return next >= 0;
            });
            if (rest)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The end of a literal and the beginning of the next, with nothing between but a plus and space.</summary>
    [GeneratedRegex("\"\\s*\\+?\\s*\\$?\"")]
    private static partial Regex JoinOfLiterals();
}
