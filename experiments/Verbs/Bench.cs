using CommandLine;
using ResNetNodes.Experiments.Benchmarks;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using TorchSharp;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>What the benchmark and its single points share.</summary>
internal abstract class BenchOptions : CommonOptions
{
    [Option('d', "depths", MetaValue = "N,N,...", HelpText = "Residual functions (default: 16,64,256; bottleneck 32).")]
    [Section("model")]
    public string? Depths { get; set; }

    [Option('p', "planes", MetaValue = "C,C,...", HelpText = "Channels of the state (default: tiny 16,64; bottleneck 256; linear's width 500).")]
    [Section("model")]
    public string? Planes { get; set; }

    [Option('n', "network", Default = "tiny,bottleneck,linear", MetaValue = "tiny|bottleneck|linear,...", HelpText = "TinyResNet; 14×14 maps with ReLU–conv1×1–BN–ReLU–conv3×3–BN–ReLU–conv1×1–BN; one shared Linear–tanh–Linear of 8 hidden.")]
    [Section("model")]
    public string Network { get; set; } = "tiny,bottleneck,linear";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stage.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('m', "methods", MetaValue = "METHOD,...", HelpText = "torchsharp-backprop, torchsharp-channels-last, torchsharp-checkpoint, callback-inverse, or a reconstruction (default: all).")]
    [Section("method")]
    public string? Methods { get; set; }

    [Option('b', "batch", MetaValue = "B", HelpText = "Images or rows a step (default: tiny 128, bottleneck 16, linear 500).")]
    [Section("training")]
    public string? Batch { get; set; }

    [Option("train-steps", Default = "0", MetaValue = "N", HelpText = "Training of the weights beforehand, by backprop.")]
    [Section("training")]
    public string TrainSteps { get; set; } = "0";

    protected BenchRun ReadRun(int? rounds)
    {
        var solver = Read.Choice<Solver>("solver", SolverName);
        var methods = (Methods ?? BenchMethod.All).Split(',').Select(m => BenchMethod.Parse(m, solver)).Distinct().ToList();
        return new BenchRun(methods, rounds, Read.Whole("train-steps", TrainSteps, 0), SeedNumber);
    }

    protected List<BenchNetwork> ReadNetworks(BenchRun run)
    {
        var names = Network.Split(',').Select(n => Read.OneOf("network", n.Trim(), BenchNetwork.Names)).Distinct().ToList();
        var least = run.Methods[0].Options.Solver == Solver.Heun ? 2 : 1;
        var networks = names.SelectMany(name => Read.Wholes("planes", Planes ?? BenchNetwork.Defaults(name).Planes, name == "bottleneck" ? 4 : 1).SelectMany(planes =>
            Read.Wholes("depths", Depths ?? BenchNetwork.Defaults(name).Depths, least).Select(depth =>
                new BenchNetwork(name, planes, depth, Read.Whole("batch", Batch ?? BenchNetwork.Defaults(name).Batch, 2))))).ToList();
        if (Methods is not null && networks.FirstOrDefault(n => run.Methods.Any(m => !m.Fits(n))) is { } misfit)
        {
            throw new UsageException($"--methods: torchsharp-channels-last needs images; the states of {misfit.Name} have no channels");
        }

        if (FindDevice().type != DeviceType.CPU)
        {
            throw new UsageException($"{StrictArguments.NameOf(GetType())} measures the CPU; --device may be cpu alone");
        }

        return networks;
    }
}

/// <summary>Time and memory of a training step, every method in one run.</summary>
[Verb("bench", HelpText = "Time and memory of a training step, next to TorchSharp's own backprop.")]
[Page(
    "Methods take turns in one process, in an order drawn anew each round; medians and quartiles. Memory: a process for each.",
    "resnet-nodes bench --network tiny --planes 16 --depths 64 --methods torchsharp-backprop,adaptive --json    (1 minute on 2 cores)",
    "resnet-nodes bench --network linear --depths 16,64 --no-memory                                             (1 minute)")]
[Preset("smoke", "network=tiny", "planes=4", "depths=1,2", "batch=16", "repetitions=2")]
[Preset("small", "network=tiny", "planes=16", "depths=16,64")]
[Preset("paper", "network=tiny", "planes=16,64", "depths=16,64,256")]
internal sealed class Bench : BenchOptions
{
    [Option("repetitions", MetaValue = "N", HelpText = "Measured rounds (default: as many as 20 seconds a network and depth hold, 5 to 50).")]
    [Section("training")]
    public string? Repetitions { get; set; }

    [Option("no-memory", HelpText = "Leave out memory.")]
    [Section("method")]
    public bool? NoMemory { get; set; }

    [Option("gradients", HelpText = "Also the error of each gradient against torchsharp-backprop's, in float64.")]
    [Section("method")]
    public bool? Gradients { get; set; }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var run = ReadRun(Repetitions is null ? null : Read.Whole("repetitions", Repetitions, 1));
        var networks = ReadNetworks(run);
        if (Is(Resume))
        {
            throw new UsageException("bench has nothing to resume; take --overwrite");
        }

        var folder = RunFolder.Open(this);
        var peak = BenchRun.PeakOperationsPerSecond();
        terminal.Say($"peak of a float32 matrix product: {peak / 1e9:0} GFLOP/s");
        var rows = new List<Dictionary<string, object?>>();
        foreach (var series in networks.GroupBy(n => (n.Name, n.Planes)))
        {
            var points = new List<Dictionary<string, object?>>();
            foreach (var network in series)
            {
                foreach (var row in Point(run, network, peak, terminal, cancellation))
                {
                    points.Add(row);
                    terminal.Row(row);
                }
            }

            rows.AddRange(points);
            foreach (var own in points.GroupBy(p => (string)p["method"]!).Where(own => own.Count() > 1))
            {
                rows.Add(Series([.. own]));
                terminal.Row(rows[^1]);
            }

            terminal.Say("figure: " + PaperFigure.Save(folder, $"bench-{series.Key.Name}-{series.Key.Planes}", $"A training step, {series.Key.Name}, {series.Key.Planes} planes", "Depth N", "Seconds",
                [.. points.GroupBy(p => (string)p["method"]!).Select(own => new Series(own.Key, [.. own.Select(p => (double)(int)p["depth"]!)], [.. own.Select(p => (double)p["step_seconds"]!)], Open: BenchMethod.Peers.Contains(own.Key)))], logY: true));
        }

        folder.WriteCsv("bench.csv", rows);
        terminal.Table(rows);
    }

    private List<Dictionary<string, object?>> Point(BenchRun run, BenchNetwork network, double peak, Terminal terminal, CancellationToken cancellation)
    {
        var errors = Is(Gradients) ? run.GradientErrors(network, cancellation) : [];
        var rows = run.Measure(network, (share, text) => terminal.Progress(share, $"{network}: {text}"), cancellation, trials =>
        {
            double? reference = trials.FirstOrDefault(t => t.Method.Name == BenchMethod.Reference) is { } own ? Fit.Quantile(own.Seconds, 0.5) : null;
            return trials.Select(trial => Row(trial, reference, peak)).ToList();
        });
        foreach (var row in rows)
        {
            var method = (string)row["method"]!;
            row["gradient_error"] = errors.TryGetValue(method, out var error) ? error : null;
            if (!Is(NoMemory))
            {
                cancellation.ThrowIfCancellationRequested();
                terminal.Progress(1, $"{network}: memory of {method}");
                (row["peak_bytes"], row["step_bytes"]) = BenchPoint.InProcess(this, network, method);
            }
        }

        return rows;
    }

    private static Dictionary<string, object?> Row(BenchTrial trial, double? reference, double peak)
    {
        var median = Fit.Quantile(trial.Seconds, 0.5);
        return new()
        {
            ["network"] = trial.Network.Name,
            ["planes"] = trial.Network.Planes,
            ["depth"] = trial.Network.Depth,
            ["method"] = trial.Method.Name,
            ["rounds"] = trial.Seconds.Count,
            ["step_seconds"] = median,
            ["step_seconds_q25"] = Fit.Quantile(trial.Seconds, 0.25),
            ["step_seconds_q75"] = Fit.Quantile(trial.Seconds, 0.75),
            ["ratio_to_backprop"] = median / reference,
            ["evaluations_per_layer"] = trial.EvaluationsPerLayer,
            ["gflops"] = trial.Operations / median / 1e9,
            ["share_of_peak"] = trial.Operations / median / peak,
            ["gradient_error"] = null,
            ["peak_bytes"] = null,
            ["step_bytes"] = null,
            ["bytes_per_layer"] = null,
            ["time_exponent"] = null,
        };
    }

    private static Dictionary<string, object?> Series(List<Dictionary<string, object?>> points)
    {
        var depths = points.Select(p => (double)(int)p["depth"]!).ToList();
        var row = points[0].Keys.ToDictionary(key => key, key => key is "network" or "planes" or "method" ? points[0][key] : null);
        row["time_exponent"] = Fit.Slope([.. depths.Select(d => Math.Log(d))], [.. points.Select(p => Math.Log((double)p["step_seconds"]!))]);
        if (points.All(p => p["step_bytes"] is long))
        {
            row["bytes_per_layer"] = Fit.Slope(depths, [.. points.Select(p => (double)(long)p["step_bytes"]!)]);
        }

        return row;
    }
}
