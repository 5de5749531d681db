using System.Text.Json;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Bench;

/// <summary>Time and memory of a training step, every method in one run.</summary>
[Verb("bench", HelpText = "Time and memory of a training step, next to TorchSharp's own backprop.")]
[Page(
    """
    Methods take turns in one process, in an order drawn anew each round; medians and ranges. Memory: a process for each, at fresh
    weights. nominal_gflops counts as a convolution's definition does; kernels that need fewer multiplications may exceed the peak,
    which is the best of several matrix products. overhead_share: of a step, what a native stage's two passes take outside of the
    engine. Networks of four stages have no depth, and so no slopes over it. A folder may be measured in parts: --resume with other
    networks, planes, depths, sizes, classes, images, batches, precisions or train-steps adds theirs; tables, figures and --page show
    everything in the folder, and are rewritten even if nothing is left to measure. --page also shows what
    scripts/compare-reference.sh has measured beside PyTorch.
    """,
    "resnet-nodes bench --network tiny --planes 16 --depths 64 --methods torchsharp-backprop,adaptive --json    (1 "
    + "minute on 2 cores)",
    "resnet-nodes bench --network linear --depths 16,64 --no-memory                                             (1 "
    + "minute)",
    "resnet-nodes bench --network ode --size 34,101 --batch 32 --methods torchsharp-backprop,backprop,adaptive  (2 "
    + "minutes)",
    "resnet-nodes bench --out runs/bench --resume --page docs/benchmarks.md")]
[PaperRow("beyond the paper", order: 0)]
[JsonRows(typeof(BenchRow), typeof(BenchEpoch))]
[Preset("smoke", "network=tiny", "planes=4", "depths=1,2", "batch=16", "repetitions=2", "methods=torchsharp-backprop,backprop,adaptive")]
[Preset("small", "network=tiny", "planes=16", "depths=16,64")]
[Preset("paper", "network=tiny", "planes=16,64", "depths=16,64,256")]
internal sealed class BenchVerb : Experiment
{
    private static readonly int[] EpochDepths = [16, 64];

    [Option("train-steps", Default = "0", MetaValue = "N,N,...", HelpText =
        "Training steps before measuring, by backprop on the one batch; each number is measured.")]
    [Section("training")]
    [MayChange]
    public string TrainSteps { get => Given(); set => Set(value); }

    [Option("repetitions", MetaValue = "N", HelpText =
        "Measured rounds (default: as many as fit into 20 seconds for a network and depth, 5 to 50).")]
    [Section("training")]
    public string? Repetitions { get => Optional(); set => Set(value); }

    [Option("epoch", MetaValue = "DATASET", HelpText =
        "Also measure where the time of an epoch goes: 'train' on this data set, depths 16 and 64, 16 planes, batch "
        + "128.")]
    [Section("training")]
    [MayChange]
    public string? Epoch { get => Optional(); set => Set(value); }

    [Option("no-memory", HelpText = "Do not measure memory.")]
    [Section("method")]
    [MayChange]
    public bool? NoMemory { get => Switch(); set => Set(value); }

    [Option("gradients", HelpText =
        "Also measure the error of each gradient against torchsharp-backprop's, in float64.")]
    [Section("method")]
    [MayChange]
    public bool? Gradients { get => Switch(); set => Set(value); }

    [Option("page", MetaValue = "FILE", HelpText =
        "Also write a Markdown page, with figures and raw data in a folder beside it, named by date and machine.")]
    [Section("output")]
    [Presentation]
    public string? Page { get => Optional(); set => Set(value); }

    public BenchGroup Bench { get; } = new();

    public SolverGroup Solver { get; } = new();

    public SeedGroup Seed { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var run = Bench.ReadRun(Solver.Value, Repetitions is { } rounds ? Read.Whole("repetitions", rounds) : null, Seed.Number);
        var networks = Bench.ReadNetworks(run);
        var trainings = Read.Wholes("train-steps", TrainSteps);
        if (Epoch is not null)
        {
            // Its training comes last, but what it lacks is known first.
            DataSets.Check(Read.OneOf("epoch", Epoch, DataSets.Names), null, download: false, skipCorrupt: false, resized: false);
            _ = DataSets.Open(
                Epoch, null, train: true, download: false, skipCorrupt: false, (int)Seed.Number, terminal, cancellation);
        }

        if (Page is not null)
        {
            BenchPage.Check(Page);
        }

        var folder = RunFolder.Open(this);
        if (Page is not null)
        {
            BenchPage.MakeFolder(Page);
        }

        var store = new BenchStore(folder, cancellation);
        terminal.Progress(0, "the best of several matrix products");
        var peak = store.Peak();
        terminal.Say($"peak of float32 matrix products: {peak.Gflops:0} GFLOP/s, {peak.Product}");
        var series = networks.SelectMany(n => trainings.Select(t => (Network: n, TrainSteps: t)))
            .GroupBy(p => p.Network.Series(p.TrainSteps));
        foreach (var group in series)
        {
            var points = group.SelectMany(p => Point(run, p.Network, p.TrainSteps, peak, store, terminal, cancellation)).ToList();
            foreach (var row in BenchRow.Fits(points))
            {
                terminal.Row(row);
            }
        }

        if (Epoch is not null)
        {
            foreach (var depth in EpochDepths)
            {
                terminal.Progress(1, $"an epoch of training on {Epoch}, depth {depth}");
                terminal.Row(store.Epoch(Epoch, depth, () => TrainEpoch(folder, Epoch, depth, cancellation)));
            }
        }

        Write(folder, store.Read(), terminal);
    }

    private List<BenchRow> Point(
        BenchRun run,
        BenchNetwork network,
        int trainSteps,
        BenchPeak peak,
        BenchStore store,
        Terminal terminal,
        CancellationToken cancellation)
    {
        void Progress(double share, string text) => terminal.Progress(share, $"{network}: {text}");
        List<BenchRow> Rows(List<BenchTrial> trials, BenchWork work)
        {
            var reference = trials.FirstOrDefault(t => t.Method.Name == BenchMethod.Reference);
            double? median = reference is null ? null : Fit.Quantile(reference.Seconds, 0.5);
            return [.. trials.Select(trial => BenchRow.Of(trial, work, trainSteps, median, peak))];
        }

        var rows = store.Steps(network, trainSteps, () => run.Measure(network, trainSteps, Progress, cancellation, Rows));
        if (Gradients == true)
        {
            store.Gradients(network, trainSteps, () => run.GradientErrors(network, trainSteps, Progress, cancellation));
        }

        return [.. rows.Select(row =>
        {
            if (NoMemory != true)
            {
                Progress(1, $"memory of {row.Method}");
                store.Memory(network, row.Method, () => BenchPoint.InProcess(this, network, row.Method, cancellation));
            }

            var complete = store.Complete(network.Key, row);
            terminal.Row(complete);
            return complete;
        })];
    }

    /// <summary>
    /// Trains in a process of its own, as users do. The last epoch counts: .NET compiles during the first.
    /// </summary>
    private BenchEpoch TrainEpoch(RunFolder folder, string dataset, int depth, CancellationToken cancellation)
    {
        var words = WordsFor(
            typeof(Paper.Train), ("network", "tiny"), ("solver", "euler"), ("depth", $"{depth}"), ("planes", "16"), ("batch", "128"),
            ("epochs", "2"), ("dataset", dataset), ("json", "true"), ("quiet", "true"), ("overwrite", "true"),
            ("out", folder.NewRun($"train-{dataset}-{depth}")));
        var rows = OwnProcess.Run(words, $"training on {dataset} failed", inOrder: false, cancellation);
        using var row = JsonDocument.Parse(rows.Trim().Split('\n')[^1]);
        double Figure(string key) => row.RootElement.GetProperty(key).GetDouble();
        return new(
            dataset, depth, Figure("seconds"), Figure("step_share"), Figure("stage_share"), Figure("optimizer_share"),
            Figure("waited_share"));
    }

    // All that the folder holds, whenever it was measured.
    private void Write(RunFolder folder, BenchResults results, Terminal terminal)
    {
        folder.WriteCsv(BenchPage.StepsFile, results.Rows);
        folder.WriteCsv(BenchPage.EpochsFile, results.Epochs);
        terminal.Table(results.Rows);
        terminal.Table(results.Epochs);
        foreach (var group in results.Groups.Where(BenchFigure.Shows))
        {
            terminal.Say("figure: " + BenchFigure.Save(folder, group.Key, [.. group]));
        }

        if (Page is not null)
        {
            BenchPage.Write(Page, folder, results);
            terminal.Say("page: " + Page);
        }

        folder.Finish(terminal, "Time and memory of training steps", [.. BenchGoals.Of(results)]);
    }
}
