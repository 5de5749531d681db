using System.Globalization;
using System.Text.Json;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>One run of the sweep.</summary>
internal sealed record SweepRow(Solver Solver, string Reconstruction, int Depth, int Seed, double BestTestAccuracy, double TestError);

/// <summary>Test error against depth.</summary>
[Verb("depth-sweep", HelpText = "Test error against depth: {ResNet, HeunNet} x {backprop, adjoint} x depths x seeds.")]
[Page(
    "Figure 3c of arXiv 2205.14612. Each run is a 'train' in a folder of its own; finished ones are skipped with --resume, broken ones redone.",
    "resnet-nodes depth-sweep --preset small                        (15 minutes on 2 cores)",
    "resnet-nodes depth-sweep --preset paper --data cifar-10-binary.tar.gz --jobs 4")]
[JsonRows(typeof(SweepRow))]
[Preset("smoke", "dataset=synthetic", "limit=100", "planes=2", "depths=2,4", "seeds=1", "epochs=1", "batch=50")]
[Preset("small", "depths=2,4,8,16", "seeds=1,2", "limit=6000", "epochs=3", "planes=8", "batch=64")]
[Preset("paper", "dataset=cifar10", "depths=2,4,8,16,32,64", "seeds=1,2,3,4,5", "batch=256", "epochs=90", "reconstructions=backprop,inverse")]
internal sealed class DepthSweep : ModelOptions
{
    [Option('d', "depths", Default = "2,4,8,16,32,64", MetaValue = "N,N,...", HelpText = "Residual functions (HeunNet needs 2).")]
    [Section("model")]
    public string Depths { get; set; } = "2,4,8,16,32,64";

    [Option("solvers", Default = "euler,heun", MetaValue = "euler,heun", HelpText = "ResNet and HeunNet.")]
    [Section("method")]
    public string Solvers { get; set; } = "euler,heun";

    [Option('r', "reconstructions", Default = "backprop,adaptive", MetaValue = "METHOD,...", HelpText = "Stored states and adjoints.")]
    [Section("method")]
    public string Methods { get; set; } = "backprop,adaptive";

    [Option("seeds", Default = "1,2,3,4,5", MetaValue = "S,S,...", HelpText = "A run each; they take the place of --seed.")]
    [Section("training")]
    public string Seeds { get; set; } = "1,2,3,4,5";

    [Option('e', "epochs", Default = "90", MetaValue = "N", HelpText = "Epochs of each run.")]
    [Section("training")]
    public string Epochs { get; set; } = "90";

    [Option("schedule", Default = "thirds", MetaValue = "constant|cosine|thirds|steps:A+B", HelpText = "Learning rate over the epochs.")]
    [Section("training")]
    public string ScheduleName { get; set; } = "thirds";

    [Option("scale-rate", HelpText = "Multiply the learning rate of the residual functions by the depth (the paper's 'adaptive' option).")]
    [Section("training")]
    public bool? ScaleRate { get; set; }

    [Option('j', "jobs", Default = "1", MetaValue = "N", HelpText = "Runs at a time.")]
    [Section("run")]
    [MayChange]
    public string Jobs { get; set; } = "1";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        Read.OneOf("network", Network, "tiny");
        var solvers = Read.Choices<Solver>("solvers", Solvers);
        var methods = Read.Reconstructions("reconstructions", Methods);
        var depths = Read.Wholes("depths", Depths, 1);
        var seeds = Read.Wholes("seeds", Seeds, 0);
        var jobs = Read.Whole("jobs", Jobs, 1);
        var folder = RunFolder.Open(this);
        var runs = seeds.SelectMany(seed => depths.SelectMany(depth => solvers.SelectMany(solver => methods.Select(method => (Solver: solver, Method: method, Depth: depth, Seed: seed))))).ToList();
        var rows = new SweepRow[runs.Count];
        var done = 0;
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = jobs, CancellationToken = cancellation };
        try
        {
            Parallel.For(0, runs.Count, parallel, i =>
            {
                var (solver, method, depth, seed) = runs[i];
                var name = $"{Rows.Spelled(solver)}-{method}-{depth}-{seed}".Replace(':', '_');
                var best = Train(folder.File(name), solver, method, depth, seed, jobs, cancellation);
                rows[i] = new(solver, method.ToString(), depth, seed, best, 100 * (1 - best));
                lock (rows)
                {
                    terminal.Progress((double)++done / runs.Count, $"{name}: test error {rows[i].TestError:0.0} %");
                    terminal.Say($"{name}: test error {rows[i].TestError:0.00} % ({done} of {runs.Count})");
                    terminal.Row(rows[i]);
                }
            });
        }
        catch (AggregateException exception) when (exception.InnerExceptions.FirstOrDefault(e => e is ResNetNodesException or OperationCanceledException) is { } first)
        {
            throw first is OperationCanceledException ? new OperationCanceledException(first.Message) : new ResNetNodesException(first.Message, first);
        }

        folder.WriteCsv("depth-sweep.csv", rows);
        terminal.Table(rows);
        terminal.Say("figure: " + Draw(folder, solvers, methods, depths, rows));
        folder.Finish(terminal, $"Test error against depth on {Dataset}, {seeds.Count} seeds", "figure 3c", Judge(solvers, methods, depths, rows));
    }

    // A process each, so that --jobs runs do not share a heap, and a broken one takes nothing along.
    private double Train(string path, Solver solver, Reconstruction method, int depth, int seed, int jobs, CancellationToken cancellation)
    {
        var finished = File.Exists(Path.Combine(path, RunSummary.FileName));
        if (!finished)
        {
            // A run with a checkpoint goes on; one that broke before its first epoch leaves nothing worth keeping.
            var again = File.Exists(Path.Combine(path, "checkpoint.bin")) ? "--resume" : "--overwrite";
            if (again == "--overwrite" && Directory.Exists(path))
            {
                Directory.Delete(path, recursive: true);
            }

            var factor = Is(ScaleRate) ? depth : 1;
            List<string> words =
            [
                "train", "--depth", $"{depth}", "--solver", Rows.Spelled(solver), "--reconstruction", method.ToString(), "--seed", $"{seed}", "--out", path, again, "--quiet",
                "--epochs", Epochs, "--schedule", ScheduleName, "--batch", Batch, "--lr", Rate, "--momentum", Momentum, "--weight-decay", WeightDecay,
                "--dataset", Dataset, "--execution", Execution, "--precision", Precision, "--planes", $"{PlanesOf(Network)}", "--device", Device,
                "--stage-rate-factor", factor.ToString(CultureInfo.InvariantCulture),
                "--threads", Threads ?? Math.Max(1, Environment.ProcessorCount / jobs).ToString(CultureInfo.InvariantCulture),
            ];
            (string Name, string? Value)[] given =
            [
                ("--data", Data), ("--workers", Workers), ("--limit", Limit), ("--download", Is(Download) ? "true" : null), ("--skip-corrupt", Is(SkipCorrupt) ? "true" : null),
                ("--checkpoint-on-failure", Is(CheckpointOnFailure) ? "true" : null), ("--cuda-graphs", Is(CudaGraphs) ? "true" : null), ("--zero-init", ZeroInit?.ToString().ToLowerInvariant()),
            ];
            words.AddRange(given.Where(pair => pair.Value is not null).SelectMany(pair => new[] { pair.Name, pair.Value! }));
            OwnProcess.Run(words, path, cancellation);
        }

        var lines = File.ReadAllLines(Path.Combine(path, "metrics.csv"));
        var column = lines[0].Split(',').ToList().IndexOf("test_accuracy");
        return lines[1..].Max(line => double.Parse(line.Split(',')[column], CultureInfo.InvariantCulture));
    }

    private static string Draw(RunFolder folder, IReadOnlyList<Solver> solvers, IReadOnlyList<Reconstruction> methods, IReadOnlyList<int> depths, SweepRow[] rows)
    {
        var series = new List<Series>();
        foreach (var solver in solvers)
        {
            foreach (var method in methods)
            {
                double[] At(double share) => [.. depths.Select(depth => Fit.Quantile(rows.Where(r => r.Solver == solver && r.Reconstruction == method.ToString() && r.Depth == depth).Select(r => r.TestError), share))];
                series.Add(new Series($"{(solver == Solver.Heun ? "HeunNet" : "ResNet")}, {method}", [.. depths.Select(d => (double)d)], At(0.5), PaperFigure.ColourOf(solver), Open: method.IsMemoryFree, Dashed: method.IsMemoryFree)
                {
                    Band = (At(0.25), At(0.75)),
                });
            }
        }

        return PaperFigure.Save(folder, "depth-sweep", "Test error against depth: solid backprop, dashed adjoint", new Panel("Depth N", "Test error (%)", series)
        {
            LogX = true,
            LogY = true,
            TicksX = [.. depths.Select(d => ((double)d, d.ToString(CultureInfo.InvariantCulture)))],
            TicksY = [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 35, 40, 50, 60, 75, 90],
        });
    }

    private static List<Finding> Judge(IReadOnlyList<Solver> solvers, IReadOnlyList<Reconstruction> methods, IReadOnlyList<int> depths, SweepRow[] rows)
    {
        double Median(Solver solver, string method, int depth) => Fit.Quantile(rows.Where(r => r.Solver == solver && r.Reconstruction == method && r.Depth == depth).Select(r => r.TestError), 0.5);
        var stored = methods.FirstOrDefault(m => !m.IsMemoryFree)?.ToString();
        var findings = new List<Finding>();
        if (stored is null)
        {
            return findings;
        }

        var deepest = depths.Max();
        // What seeds alone do to the error; with one seed nothing can be told from it.
        var spread = rows.GroupBy(r => (r.Solver, r.Reconstruction, r.Depth)).Where(g => g.Count() > 1).Select(g => g.Max(r => r.TestError) - g.Min(r => r.TestError)).DefaultIfEmpty(double.NaN).Max();
        var scatter = double.IsNaN(spread) ? "one seed alone says nothing of the scatter" : $"seeds differ by up to {spread:0.0}";
        foreach (var adjoint in methods.Where(m => m.IsMemoryFree).Select(m => m.ToString()))
        {
            foreach (var solver in solvers)
            {
                var gaps = depths.Select(d => (Depth: d, Gap: Median(solver, adjoint, d) - Median(solver, stored, d))).ToList();
                findings.Add(new(
                    $"Adjoint and backprop agree at large depth ({(solver == Solver.Heun ? "HeunNet" : "ResNet")}, {adjoint})",
                    $"test error {Median(solver, adjoint, deepest):0.0} % and {Median(solver, stored, deepest):0.0} % at depth {deepest}; at depth {gaps[0].Depth} they differ by {Math.Round(gaps[0].Gap, 1):+0.0;-0.0;0.0}; {scatter}",
                    double.IsNaN(spread) ? null : gaps[^1].Gap <= Math.Max(spread, 1)));
            }

            if (solvers.Count == 2)
            {
                int Needed(Solver solver) => depths.First(d => Math.Abs(Median(solver, adjoint, d) - Median(solver, stored, d)) <= spread || d == deepest);
                var shown = !double.IsNaN(spread) && depths.Any(d => solvers.Any(s => Math.Abs(Median(s, adjoint, d) - Median(s, stored, d)) > spread));
                findings.Add(new(
                    $"HeunNet needs fewer layers than ResNet for the adjoint to match backprop ({adjoint})",
                    shown
                        ? $"within the scatter of seeds from depth {Needed(Solver.Heun)} on for HeunNet, {Needed(Solver.Euler)} for ResNet"
                        : double.IsNaN(spread) ? scatter : $"{adjoint} matches backprop within the scatter of seeds ({spread:0.0}) at every depth, with both solvers",
                    shown ? Needed(Solver.Heun) <= Needed(Solver.Euler) : null));
            }
        }

        return findings;
    }
}
