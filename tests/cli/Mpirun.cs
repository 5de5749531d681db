using System.Diagnostics;

namespace ResNetNodes.Cli.Tests;

/// <summary>The real executable as several ranks.</summary>
internal static class Mpirun
{
    public static string Program { get; } = Path.Combine(Executable.Root, "resnet-nodes");

    public static (int Code, string Out, string Error) Run(int ranks, params string[] arguments) =>
        Launch(["-n", $"{ranks}", Program, .. arguments]);

    /// <summary>The same, with mpirun's own words.</summary>
    public static (int Code, string Out, string Error) Launch(params string[] words)
    {
        using var process = Process.Start(Start(words))!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }

    public static ProcessStartInfo Start(params string[] words)
    {
        var start = Executable.Start();
        start.FileName = "mpirun";
        start.ArgumentList.Clear();
        string[] root = Environment.IsPrivilegedProcess ? ["--allow-run-as-root"] : [];
        Array.ForEach(["--oversubscribe", .. root, .. words], start.ArgumentList.Add);
        return start;
    }

    /// <summary>The lines that are ours: mpirun says more where a rank fails.</summary>
    public static IEnumerable<string> Failures(string error) =>
        error.Split('\n').Where(line => line.StartsWith("resnet-nodes: ", StringComparison.Ordinal));
}
