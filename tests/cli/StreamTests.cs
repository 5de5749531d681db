using System.Diagnostics;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Standard streams that are full, closed or left by their reader.</summary>
public sealed class StreamTests : IDisposable
{
    private const string Train = "$X train --dataset synthetic --limit 60 --depth 2 --planes 2 --batch 30 --epochs 2";
    private readonly string folder = Directory.CreateTempSubdirectory("streams").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>Results that can't be written end the run: it says so, and how it goes on.</summary>
    [Theory]
    [InlineData(">/dev/full", "No space left on device")]
    [InlineData(">&-", "Bad file descriptor")]
    [InlineData(">/proc/self/mem", "standard output can't be written")]
    public void LostResults_EndTheRun(string redirection, string reason)
    {
        var (code, error) = Shell($"{Train} --json --out {folder}/run {redirection}");
        Assert.Equal(1, code);
        Assert.Contains(reason, error);
        Assert.Contains("continue with: resnet-nodes train", error.Trim().Split('\n')[^1]);
        Assert.False(File.Exists(Path.Combine(folder, "run", "summary.json")));
        var (again, _) = Shell($"{Train} --json --out {folder}/run --resume >{folder}/rows");
        Assert.Equal(0, again);
        Assert.Single(File.ReadAllLines(Path.Combine(folder, "rows")));
    }

    /// <summary>Lines for people that can't be written end nothing; the exit code tells.</summary>
    [Theory]
    [InlineData("2>/dev/full", 1)]
    [InlineData("2>&-", 1)]
    [InlineData("2>&- <&-", 1)]
    [InlineData("-q 2>&-", 0)]
    [InlineData("2>/dev/null", 0)]
    public void LostLines_EndNothing(string redirection, int code)
    {
        Assert.Equal(code, Shell($"{Train} --json --out {folder}/run {redirection} >{folder}/rows").Code);
        Assert.Equal(2, File.ReadAllLines(Path.Combine(folder, "rows")).Length);
        Assert.True(File.Exists(Path.Combine(folder, "run", "summary.json")));
    }

    [Theory]
    [InlineData("train --lr 0 2>/dev/full", 2)]
    [InlineData("train --data /nowhere 2>&-", 1)]
    [InlineData("trian 2>/dev/full >/dev/full", 2)]
    [InlineData("help train >/dev/full", 1)]
    [InlineData("--version >&-", 1)]
    [InlineData("help train >&- 2>&- <&-", 1)]
    public void Failures_KeepTheirExitCode(string words, int code) => Assert.Equal(code, Shell("$X " + words).Code);

    /// <summary>A reader that has seen enough: no failure, and no finished run either.</summary>
    [Fact]
    public void ClosedPipe_IsSuccess()
    {
        var (code, error) = Shell(
            $"{Train.Replace("epochs 2", "epochs 500", StringComparison.Ordinal)} -q --json --out {folder}/run "
            + $"| head -n 1 >{folder}/rows; exit ${{PIPESTATUS[0]}}");
        Assert.Equal(0, code);
        Assert.Single(File.ReadAllLines(Path.Combine(folder, "rows")));
        Assert.Contains("closed by its reader; continue with: resnet-nodes train", Assert.Single(error.Trim().Split('\n')));
        Assert.Equal((0, string.Empty), Shell("$X help train | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}"));
    }

    /// <summary>Both streams into one file: neither overwrites the other's lines.</summary>
    [Fact]
    public void OneFileForBoth_HoldsBoth()
    {
        Assert.Equal(0, Shell($"{Train} --json --out {folder}/run >{folder}/all 2>&1").Code);
        var lines = File.ReadAllLines(Path.Combine(folder, "all"));
        Assert.Equal(2, lines.Count(line => line.StartsWith('{') && line.EndsWith('}')));
        Assert.Equal(2, lines.Count(line => line.StartsWith("train: epoch ", StringComparison.Ordinal)));
    }

    private static (int Code, string Error) Shell(string script)
    {
        using var process = Process.Start(Executable.Shell(script))!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error);
    }
}
