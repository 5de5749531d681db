using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Bench;

/// <summary>Memory of one point of <see cref="BenchVerb"/>, in a process of its own.</summary>
[Verb("bench-point", Hidden = true, HelpText = "Memory of one point of bench; prints a JSON object.")]
internal sealed class BenchPoint : Verb
{
    public BenchGroup Bench { get; } = new();

    public SolverGroup Solver { get; } = new();

    public SeedGroup Seed { get; } = new();

    public ThreadsGroup Threads { get; } = new();

    /// <summary>Starts the process and reads its answer.</summary>
    public static BenchMemory InProcess(Verb bench, BenchNetwork network, string method, CancellationToken cancellation)
    {
        var words = bench.WordsFor(
            typeof(BenchPoint), ("network", network.Name), ("planes", $"{network.Planes}"), ("depths", network.Depth?.ToString()),
            ("size", network.Size?.ToString()), ("image", network.Image?.ToString()), ("classes", network.Classes?.ToString()),
            ("batch", $"{network.Batch}"), ("precision", network.Precision), ("methods", method));
        var (peak, step, _) = MemoryProcess.Measure($"the memory of {network}, {method}", words, cancellation);
        return new(peak, step);
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var run = Bench.ReadRun(Solver.Value, null, Seed.Number);
        var (peak, step) = run.MeasureMemory(Bench.ReadNetworks(run).Single(), cancellation);
        MemoryProcess.Answer(new MeasuredMemory(peak, step, []));
    }
}
