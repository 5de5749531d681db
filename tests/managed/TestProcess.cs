using System.Diagnostics;

namespace ResNetNodes.Tests;

/// <summary>The program of tests/process, for what can be measured in a process of its own alone.</summary>
internal static class TestProcess
{
    /// <summary>Runs it to its end.</summary>
    /// <returns>The lines that it wrote.</returns>
    public static string[] Run(params string[] arguments)
    {
        // Beside this assembly's output folder: artifacts/bin/<project>/<configuration>.
        var own = new DirectoryInfo(AppContext.BaseDirectory);
        var program = Path.Combine(own.Parent!.Parent!.FullName, "ResNetNodes.TestProcess", own.Name, "ResNetNodes.TestProcess");
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        // The program looks for .NET in the usual places; the one that runs these tests may lie elsewhere.
        start.Environment["DOTNET_ROOT"] = new FileInfo(typeof(object).Assembly.Location).Directory!.Parent!.Parent!.Parent!.FullName;
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            : throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {errors.Result}");
    }
}
