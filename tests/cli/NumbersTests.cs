using System.Diagnostics;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>README's numbers are those of the data in docs/, as scripts/write-numbers.sh writes them.</summary>
public sealed class NumbersTests : IDisposable
{
    private const string Script = "scripts/write-numbers.sh";

    private readonly string copy = Directory.CreateTempSubdirectory("numbers").FullName;

    public void Dispose() => Directory.Delete(copy, recursive: true);

    [Fact]
    public void Check_PagesAgreeWithTheData()
    {
        var (code, error) = Run(Executable.Root, "--check");
        Assert.True(code == 0, error);
    }

    [Theory]
    [InlineData("README.md", "the same after 330", "the same after 331")]
    [InlineData("README.md", "| `backprop` | ", "| `backprop` | 1")]
    [InlineData("README.md", "docs/measured/memory/memory-tiny.png", "docs/measured/reproduce/memory/memory-tiny.png")]
    [InlineData("README.md", " on 2 cores once built", " and more on 2 cores once built")]
    [InlineData("build.sh", "(", "(1", " on 2 cores once built")]
    public void Check_NamesWhatWasChanged(string file, string text, string changed, string? onLineWith = null)
    {
        Copy();
        Change(file, text, changed, onLineWith);
        var (code, error) = Run(copy, "--check");
        Assert.Equal(1, code);
        Assert.StartsWith($"write-numbers.sh: {file}:", error.Trim().Split('\n')[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Check_RefusesDataThatWereEdited()
    {
        Copy();
        Change("docs/measured/memory/memory.csv", "tiny,backprop", "tiny,forwardprop", null);
        var (code, error) = Run(copy, "--check");
        Assert.Equal(1, code);
        Assert.Contains("memory/memory.csv", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_RestoresWhatWasChanged()
    {
        Copy();
        Change("README.md", "| `backprop` | ", "| `backprop` | 1", null);
        Assert.Equal((0, string.Empty), Run(copy));
        Assert.Equal(File.ReadAllText(Path.Combine(Executable.Root, "README.md")), File.ReadAllText(Path.Combine(copy, "README.md")));
    }

    private static (int Code, string Error) Run(string root, params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo(Path.Combine(root, Script), words) { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error);
    }

    /// <summary>What the script reads: pages, data, help texts, and itself.</summary>
    private void Copy()
    {
        foreach (var part in new[] { "README.md", "build.sh", "docs", "experiments", "scripts" })
        {
            var path = Path.Combine(Executable.Root, part);
            foreach (var file in File.Exists(path) ? [path] : Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories))
            {
                var target = Path.Combine(copy, Path.GetRelativePath(Executable.Root, file));
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.Copy(file, target);
            }
        }
    }

    private void Change(string file, string text, string changed, string? onLineWith)
    {
        var path = Path.Combine(copy, file);
        var lines = File.ReadAllLines(path);
        var at = Array.FindIndex(lines, line => line.Contains(text, StringComparison.Ordinal) && line.Contains(onLineWith ?? text, StringComparison.Ordinal));
        Assert.True(at >= 0, $"{file} has no line with '{text}'");
        lines[at] = lines[at].Replace(text, changed, StringComparison.Ordinal);
        File.WriteAllLines(path, lines);
    }
}
