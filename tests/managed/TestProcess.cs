using System.Diagnostics;

namespace ResNetNodes.Tests;

/// <summary>The program of tests/process, for what can be measured in a process of its own alone.</summary>
internal static class TestProcess
{
    /// <summary>Runs it to its end.</summary>
    /// <returns>The lines that it wrote.</returns>
    public static string[] Run(params string[] arguments)
    {
        var (code, output, error) = Start([], arguments);
        return code == 0 ? output : throw new InvalidOperationException($"{arguments[0]} ended with {code}: {error}");
    }

    /// <summary>Runs it as so many ranks, by mpirun: its exit code, the lines that all wrote, and what they said.</summary>
    public static (int Code, string[] Output, string Error) RunRanks(int ranks, params string[] arguments)
    {
        List<string> launcher = ["mpirun", "--oversubscribe", "-n", $"{ranks}"];
        if (Environment.IsPrivilegedProcess)
        {
            launcher.Add("--allow-run-as-root");
        }

        return Start(launcher, arguments);
    }

    private static (int Code, string[] Output, string Error) Start(List<string> launcher, string[] arguments)
    {
        // Beside this assembly's output folder: artifacts/bin/<project>/<configuration>.
        var own = new DirectoryInfo(AppContext.BaseDirectory);
        var program = Path.Combine(own.Parent!.Parent!.FullName, "ResNetNodes.TestProcess", own.Name, "ResNetNodes.TestProcess");
        List<string> words = [.. launcher, program, .. arguments];
        var start = new ProcessStartInfo(words[0], words.Skip(1)) { RedirectStandardOutput = true, RedirectStandardError = true };
        // Or .NET begins its output with escapes: under mpirun it looks like a terminal.
        start.Environment["TERM"] = "dumb";
        // The program looks for .NET in the usual places; the one that runs these tests may lie elsewhere.
        start.Environment["DOTNET_ROOT"] = new FileInfo(typeof(object).Assembly.Location).Directory!.Parent!.Parent!.Parent!.FullName;
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        // Under mpirun lines end as a terminal's. Other white space may be what a program means.
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.TrimEnd('\r'));
        return (process.ExitCode, [.. lines], errors.Result);
    }
}
