using System.Text.Json;
using CommandLine;
using ResNetNodes.Experiments.Benchmarks;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Time and memory of a training step, every method in one run.</summary>
[Verb("bench", HelpText = "Time and memory of a training step, next to TorchSharp's own backprop.")]
[Page(
    """
    Methods take turns in one process, in an order drawn anew each round; medians and quartiles. Memory: a process for each, at fresh
    weights. nominal_gflops counts as a convolution's definition does; kernels that need fewer multiplications may exceed the peak,
    which is the best of several matrix products. overhead_share: of a step, what a native stage's two passes take outside of the
    engine. A folder may be measured in parts: --resume with other networks, planes, depths or train-steps adds theirs, and
    tables, figures and --page show all that it holds; where nothing is missing, they are written anew and nothing is measured.
    """,
    "resnet-nodes bench --network tiny --planes 16 --depths 64 --methods torchsharp-backprop,adaptive --json    (1 minute on 2 cores)",
    "resnet-nodes bench --network linear --depths 16,64 --no-memory                                             (1 minute)",
    "resnet-nodes bench --out runs/bench --resume --page docs/benchmarks.md")]
[JsonRows(typeof(BenchRow), typeof(BenchEpoch))]
[Preset("smoke", "network=tiny", "planes=4", "depths=1,2", "batch=16", "repetitions=2")]
[Preset("small", "network=tiny", "planes=16", "depths=16,64")]
[Preset("paper", "network=tiny", "planes=16,64", "depths=16,64,256")]
internal sealed class Bench : BenchOptions
{
    private static readonly int[] EpochDepths = [16, 64];

    [Option("train-steps", Default = "0", MetaValue = "N,N,...", HelpText = "Training of the weights beforehand, by backprop on the one batch; each number is measured.")]
    [Section("training")]
    [MayChange]
    public string TrainSteps { get; set; } = "0";

    [Option("repetitions", MetaValue = "N", HelpText = "Measured rounds (default: as many as 20 seconds a network and depth hold, 5 to 50).")]
    [Section("training")]
    public string? Repetitions { get; set; }

    [Option("epoch", MetaValue = "DATASET", HelpText = "Also where the time of an epoch goes: 'train' on this data set, depths 16 and 64, 16 planes, batch 128.")]
    [Section("training")]
    [MayChange]
    public string? Epoch { get; set; }

    [Option("no-memory", HelpText = "Leave out memory.")]
    [Section("method")]
    [MayChange]
    public bool? NoMemory { get; set; }

    [Option("gradients", HelpText = "Also the error of each gradient against torchsharp-backprop's, in float64.")]
    [Section("method")]
    [MayChange]
    public bool? Gradients { get; set; }

    [Option("page", MetaValue = "FILE", HelpText = "Also a page in Markdown, with figures and raw data in a folder beside it, named by date and machine.")]
    [Section("output")]
    public string? Page { get; set; }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var run = ReadRun(Repetitions is null ? null : Read.Whole("repetitions", Repetitions, 1));
        var networks = ReadNetworks(run);
        var trainings = Read.Wholes("train-steps", TrainSteps, 0);
        if (Epoch is not null)
        {
            Read.OneOf("epoch", Epoch, DataSets.Names);
        }

        if (Page is not null)
        {
            BenchPage.Check(Page);
        }

        var folder = RunFolder.Open(this);
        var store = new BenchStore(folder, cancellation);
        terminal.Progress(0, "the best of several matrix products");
        var peak = store.Peak();
        terminal.Say($"peak of float32 matrix products: {peak.Gflops:0} GFLOP/s, {peak.Product}");
        foreach (var series in networks.SelectMany(n => trainings.Select(t => (Network: n, TrainSteps: t))).GroupBy(p => (p.Network.Name, p.Network.Planes, p.TrainSteps)))
        {
            var points = series.SelectMany(p => Point(run, p.Network, p.TrainSteps, peak, store, terminal, cancellation)).ToList();
            foreach (var row in BenchRow.Series(points))
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

    private List<BenchRow> Point(BenchRun run, BenchNetwork network, int trainSteps, BenchPeak peak, BenchStore store, Terminal terminal, CancellationToken cancellation)
    {
        void Progress(double share, string text) => terminal.Progress(share, $"{network}: {text}");
        var rows = store.Steps(network, trainSteps, () => run.Measure(network, trainSteps, Progress, cancellation, trials =>
        {
            double? reference = trials.FirstOrDefault(t => t.Method.Name == BenchMethod.Reference) is { } own ? Fit.Quantile(own.Seconds, 0.5) : null;
            return trials.Select(trial => BenchRow.Of(trial, trainSteps, reference, peak)).ToList();
        }));
        if (Is(Gradients))
        {
            store.Gradients(network, trainSteps, () => run.GradientErrors(network, trainSteps, Progress, cancellation));
        }

        return [.. rows.Select(row =>
        {
            if (!Is(NoMemory))
            {
                Progress(1, $"memory of {row.Method}");
                store.Memory(network, row.Method, () => BenchPoint.InProcess(this, network, row.Method));
            }

            var complete = store.Complete(row);
            terminal.Row(complete);
            return complete;
        })];
    }

    /// <summary>Trains in a process of its own, as users do. The last epoch counts: .NET compiles during the first.</summary>
    private BenchEpoch TrainEpoch(RunFolder folder, string dataset, int depth, CancellationToken cancellation)
    {
        List<string> words =
        [
            "train", "--network", "tiny", "--depth", FormattableString.Invariant($"{depth}"), "--planes", "16", "--batch", "128", "--epochs", "2", "--dataset", dataset,
            "--seed", Seed, "--json", "--quiet", "--overwrite", "--out", folder.File($"train-{dataset}-{depth}"),
        ];
        words.AddRange(Threads is null ? [] : ["--threads", Threads]);
        var rows = OwnProcess.Run(words, $"training on {dataset} failed", cancellation);
        using var row = JsonDocument.Parse(rows.Trim().Split('\n')[^1]);
        double Figure(string key) => row.RootElement.GetProperty(key).GetDouble();
        return new(dataset, depth, Figure("seconds"), Figure("step_share"), Figure("stage_share"), Figure("optimizer_share"), Figure("waited_share"));
    }

    // All that the folder holds, whenever it was measured.
    private void Write(RunFolder folder, BenchResults results, Terminal terminal)
    {
        folder.WriteCsv(BenchPage.StepsFile, results.Rows);
        folder.WriteCsv(BenchPage.EpochsFile, results.Epochs);
        terminal.Table(results.Rows);
        terminal.Table(results.Epochs);
        foreach (var group in results.Groups)
        {
            terminal.Say("figure: " + BenchFigure.Save(folder, group.Key.Network, group.Key.Planes, group.Key.TrainSteps, [.. group]));
        }

        if (Page is not null)
        {
            BenchPage.Write(Page, folder, results);
            terminal.Say("page: " + Page);
        }

        folder.Finish(terminal, "Time and memory of training steps", "beyond the paper", [.. BenchGoals.Of(results)]);
    }
}
