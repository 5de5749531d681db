using System.Diagnostics;
using System.Reflection;
using System.Text.Json;

namespace ResNetNodes.Cli.Tests;

/// <summary>The real executable, with its exit code and both streams apart.</summary>
internal static class Executable
{
    public static string Root { get; } = typeof(Executable).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(a => a.Key == "RepositoryRoot").Value!;

    public static (int Code, string Out, string Error) Run(params string[] arguments)
    {
        using var process = Process.Start(Start(arguments))!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }

    /// <summary>The same, with the objects that --json writes, one a line.</summary>
    public static (int Code, List<JsonElement> Rows, string Error) RunRows(params string[] arguments)
    {
        var (code, output, error) = Run(arguments);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => line.StartsWith('{'));
        return (code, [.. lines.Select(line => JsonDocument.Parse(line).RootElement.Clone())], error);
    }

    public static ProcessStartInfo Start(params string[] arguments) => Start(Path.Combine(Root, "resnet-nodes"), arguments);

    /// <summary>As a terminal starts it, even where these tests ignore signals: under nohup, or in the background of a script.</summary>
    public static ProcessStartInfo StartWithSignals(params string[] arguments) =>
        Start("env", ["--default-signal=HUP,INT", Path.Combine(Root, "resnet-nodes"), .. arguments]);

    /// <summary>A script of bash in which $X is the executable.</summary>
    public static ProcessStartInfo Shell(string script)
    {
        var start = Start("bash", "-c", script);
        start.Environment["X"] = Path.Combine(Root, "resnet-nodes");
        return start;
    }

    private static ProcessStartInfo Start(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = Path.GetTempPath(),
        };
        Array.ForEach(arguments, start.ArgumentList.Add);
        // The tests' own configuration names the build that they belong to.
        start.Environment["CONFIG"] = AppContext.BaseDirectory.Contains("debug", StringComparison.Ordinal) ? "debug" : "release";
        return start;
    }
}

/// <summary>A process that does not outlive the test that started it.</summary>
internal sealed class Running(ProcessStartInfo start) : IDisposable
{
    public Process Process { get; } = Process.Start(start)!;

    public void Dispose()
    {
        if (!Process.HasExited)
        {
            Process.Kill(entireProcessTree: true);
        }

        Process.WaitForExit();
        Process.Dispose();
    }
}
