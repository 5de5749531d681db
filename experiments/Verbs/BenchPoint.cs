using CommandLine;
using ResNetNodes.Experiments.Benchmarks;
using ResNetNodes.Experiments.Cli;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Memory of one point of <see cref="Bench"/>, in a process of its own.</summary>
[Verb("bench-point", Hidden = true, HelpText = "Memory of one point of bench; prints a JSON object.")]
internal sealed class BenchPoint : BenchOptions
{
    /// <summary>Starts the process and reads its answer.</summary>
    public static BenchMemory InProcess(BenchOptions options, BenchNetwork network, string method)
    {
        List<string> words = ["bench-point", "--network", network.Name, "--depths", $"{network.Depth}", "--planes", $"{network.Planes}", "--batch", $"{network.Batch}",
            "--methods", method, "--solver", options.SolverName, "--seed", options.Seed];
        words.AddRange(options.Threads is null ? [] : ["--threads", options.Threads]);
        var (peak, step) = MemoryProcess.Measure($"the memory of {network}, {method}", words);
        return new(peak, step);
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var run = ReadRun(null);
        var (peak, step) = run.MeasureMemory(ReadNetworks(run).Single(), cancellation);
        MemoryProcess.Answer(peak, step);
    }
}
