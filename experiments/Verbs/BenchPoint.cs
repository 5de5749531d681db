using System.Diagnostics;
using System.Text.Json;
using CommandLine;
using ResNetNodes.Experiments.Benchmarks;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Memory of one point of <see cref="Bench"/>, in a process of its own.</summary>
[Verb("bench-point", Hidden = true, HelpText = "Memory of one point of bench; prints a JSON object.")]
internal sealed class BenchPoint : BenchOptions
{
    /// <summary>Starts the process and reads its answer.</summary>
    public static (long Peak, long Step) InProcess(BenchOptions options, BenchNetwork network, string method)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true, RedirectStandardError = true };
        // What lives is measured, not the holes of an allocator: blocks of a state's size go back to the system at once.
        start.Environment["MALLOC_MMAP_THRESHOLD_"] = "65536";
        List<string> words = ["bench-point", "--network", network.Name, "--depths", $"{network.Depth}", "--planes", $"{network.Planes}", "--batch", $"{network.Batch}",
            "--methods", method, "--solver", options.SolverName, "--train-steps", options.TrainSteps, "--seed", options.Seed];
        words.AddRange(options.Threads is null ? [] : ["--threads", options.Threads]);
        words.ForEach(start.ArgumentList.Add);
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new ResNetNodesException($"measuring the memory of {network}, {method} failed: {errors.Result.Trim().Split('\n')[^1]}");
        }

        using var point = JsonDocument.Parse(output);
        return (point.RootElement.GetProperty("peak_bytes").GetInt64(), point.RootElement.GetProperty("step_bytes").GetInt64());
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var run = ReadRun(null);
        var (peak, step) = run.MeasureMemory(ReadNetworks(run).Single());
        Console.Out.WriteLine(JsonSerializer.Serialize(new Dictionary<string, long> { ["peak_bytes"] = peak, ["step_bytes"] = step }));
    }
}
