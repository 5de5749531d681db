using System.Diagnostics;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Scripts, as far as they go without what only some machines have.</summary>
public sealed class ScriptTests
{
    [Theory]
    [InlineData(1, "/nowhere/python: no such interpreter", "/nowhere/python")]
    [InlineData(1, "has no torch that can be loaded", "false")]
    [InlineData(2, "--depth is '0', expected a whole number from 1", "false", "--depth", "0")]
    [InlineData(2, "--depth is '', expected a whole number from 1", "false", "--depth")]
    [InlineData(2, "'--steeps' is not an option", "false", "--steeps", "2")]
    public void CompareReference_WrongUsage_IsOneLine(int code, string message, params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo(Path.Combine(Executable.Root, "scripts", "compare-reference.sh"), words) { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(code, process.ExitCode);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
    }
}
