using System.Diagnostics;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// This program again, in a process of its own: a heap of its own, and nothing that it could take along if it breaks.
/// </summary>
internal static class OwnProcess
{
    /// <summary>Runs a verb to its end.</summary>
    /// <param name="words">The verb and its options.</param>
    /// <param name="failure">What an error of it is led by.</param>
    /// <param name="cancellation">Kills it.</param>
    /// <param name="environment">Variables that it gets besides ours.</param>
    /// <returns>What it wrote on standard output.</returns>
    /// <exception cref="ResNetNodesException">It failed; the message ends with the last line that it said.</exception>
    public static string Run(
        IEnumerable<string> words,
        string failure,
        CancellationToken cancellation = default,
        params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!, words) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        using var stop = cancellation.Register(process.Kill);
        var errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        cancellation.ThrowIfCancellationRequested();
        return process.ExitCode == 0
            ? output
            : throw new ResNetNodesException($"{failure}: {errors.Result.Trim().Split('\n')[^1]}");
    }
}
