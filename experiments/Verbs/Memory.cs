using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>
/// Memory of training steps at one depth; or, with no depth, bytes that a layer adds, by least squares over the depths.
/// </summary>
internal sealed record MemoryRow(string Network, string Reconstruction, int? Depth, long? PeakBytes, long? StepBytes, double? BytesPerLayer, double? PeakBytesPerLayer);

/// <summary>Peak memory against depth.</summary>
[Verb("memory", HelpText = "Peak memory of a training step against depth: flat for the adjoint.")]
[Page(
    "The memory figure of arXiv 2205.14612. Each point runs in a process of its own.",
    "resnet-nodes memory --network tiny --depths 16,64,256 --reconstructions adaptive,backprop    (1 minute on 2 cores)",
    "resnet-nodes memory --network linear --depths 1,101,201,301 --json                           (30 seconds)")]
[JsonRows(typeof(MemoryRow))]
[Preset("smoke", "network=tiny,linear", "planes=4", "batch=32", "depths=4,32")]
[Preset("small", "network=linear,tiny,ode", "depths=8,32,128", "planes=8", "batch=32")]
[Preset("paper", "network=linear", "depths=1,51,101,151,201,251,301", "reconstructions=inverse,adaptive,backprop")]
internal sealed class Memory : CommonOptions
{
    [Option('n', "network", Default = "tiny", MetaValue = "tiny,linear,resnet,ode,tied", HelpText = "TinyResNet; the paper's Linear(500→8)–tanh–Linear(8→500), one function shared by all layers; or networks of stages [3, 4, N, 3], basic blocks.")]
    [Section("model")]
    public string Network { get; set; } = "tiny";

    [Option('d', "depths", Default = "16,64,256", MetaValue = "N,N,...", HelpText = "Layers; blocks of the third of four stages.")]
    [Section("model")]
    public string Depths { get; set; } = "16,64,256";

    [Option('p', "planes", Default = "16", MetaValue = "C", HelpText = "Channels of TinyResNet's stage, or planes of the first of four stages.")]
    [Section("model")]
    public string Planes { get; set; } = "16";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stage.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('r', "reconstructions", Default = "adaptive,backprop", MetaValue = "METHOD,...", HelpText = "Methods to measure.")]
    [Section("method")]
    public string Methods { get; set; } = "adaptive,backprop";

    [Option("precision", Default = "float32", MetaValue = "float32|bfloat16", HelpText = "What residual functions are evaluated in.")]
    [Section("method")]
    public string Precision { get; set; } = "float32";

    [Option('b', "batch", Default = "128", MetaValue = "B", HelpText = "Images a step (not for linear).")]
    [Section("training")]
    public string Batch { get; set; } = "128";

    protected override string Chosen => $", functions in {Precision}";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var networks = Network.Split(',').Select(n => Read.OneOf("network", n.Trim(), MemoryPoint.Networks)).Distinct().ToList();
        var depths = Read.Wholes("depths", Depths, 1);
        var methods = Read.Reconstructions("reconstructions", Methods);
        Read.Choice<Solver>("solver", SolverName);
        Read.Precision(Precision);
        Read.Whole("planes", Planes, 1);
        Read.Whole("batch", Batch, 1);
        var device = FindDevice();
        var folder = RunFolder.Open(this);
        var rows = new List<MemoryRow>();
        var (done, total) = (0, networks.Count * methods.Count * depths.Count);
        foreach (var (network, method) in networks.SelectMany(n => methods.Select(m => (n, m))))
        {
            var points = new List<MemoryRow>();
            foreach (var depth in depths)
            {
                cancellation.ThrowIfCancellationRequested();
                terminal.Progress((double)done++ / total, $"{network}, {method}, depth {depth}");
                points.Add(folder.Point($"{network}-{method}-{depth}", () => Point(network, method, depth)));
                terminal.Row(points[^1]);
            }

            rows.AddRange(points);
            if (depths.Count > 1)
            {
                double Slope(Func<MemoryRow, long?> bytes) => Fit.Slope([.. points.Select(p => (double)p.Depth!)], [.. points.Select(p => (double)bytes(p)!)]);
                rows.Add(new(network, method.ToString(), null, null, null, Slope(p => p.StepBytes), Slope(p => p.PeakBytes)));
                terminal.Row(rows[^1]);
            }
        }

        folder.WriteCsv("memory.csv", rows);
        terminal.Table(rows);
        foreach (var network in networks)
        {
            terminal.Say("figure: " + PaperFigure.Save(folder, $"memory-{network}", $"Memory of a training step, {network}", "Depth N", "Peak beyond rest (MiB)",
            [
                .. methods.Select((method, i) =>
                {
                    var own = rows.Where(r => r.Network == network && r.Reconstruction == method.ToString() && r.Depth is not null).ToList();
                    return new Series(method.ToString(), [.. own.Select(r => (double)r.Depth!)], [.. own.Select(r => (double)r.StepBytes! / 1048576.0)], Open: method.IsMemoryFree);
                }),
            ]));
        }

        folder.Finish(terminal, $"Memory of training steps on {device}, functions in {Precision}", "memory experiment", [.. networks.Select(n => Judge(n, rows)).OfType<Finding>()]);
    }

    private MemoryRow Point(string network, Reconstruction method, int depth)
    {
        var size = NetworkSize.Custom([3, 4, depth, 3], bottleneck: false);
        string[] words =
        [
            "memory-point", "--network", network, "--depth", $"{depth}", "--size", $"{size}", "--planes", Planes, "--solver", SolverName, "--precision", Precision,
            "--reconstruction", method.ToString(), "--batch", Batch, "--seed", Seed, "--device", Device,
        ];
        var (peak, step) = MemoryProcess.Measure($"{network}, {method}, depth {depth}", Threads is null ? words : [.. words, "--threads", Threads]);
        return new(network, method.ToString(), depth, peak, step, null, null);
    }

    private static Finding? Judge(string network, List<MemoryRow> rows)
    {
        double? Slope(Func<string, bool> method) => rows.FirstOrDefault(r => r.Network == network && r.Depth is null && method(r.Reconstruction))?.BytesPerLayer;
        var free = Slope(m => Reconstruction.Parse(m).IsMemoryFree);
        return free is not { } flat || Slope(m => m == "backprop") is not { } linear
            ? null
            : new($"Memory is flat in depth with the adjoint, linear with backprop ({network})", $"{flat:N0} bytes a layer against {linear:N0}", flat < Math.Max(0.01 * linear, 4096));
    }
}
