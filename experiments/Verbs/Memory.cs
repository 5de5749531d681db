using System.Diagnostics;
using System.Text.Json;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Peak memory against depth.</summary>
[Verb("memory", HelpText = "Peak memory of a training step against depth: flat for the adjoint.")]
[Page(
    "The memory figure of arXiv 2205.14612. Each point runs in a process of its own.",
    "resnet-nodes memory --network tiny --depths 16,64,256 --reconstructions adaptive,backprop    (1 minute on 2 cores)",
    "resnet-nodes memory --network linear --depths 1,101,201,301 --json                           (30 seconds)")]
internal sealed class Memory : CommonOptions
{
    [Option('n', "network", Default = "tiny", MetaValue = "tiny|linear|tiny,linear", HelpText = "TinyResNet, or the paper's Linear(500→8)–tanh–Linear(8→500), one function shared by all layers.")]
    [Section("model")]
    public string Network { get; set; } = "tiny";

    [Option('d', "depths", Default = "16,64,256", MetaValue = "N,N,...", HelpText = "Layers.")]
    [Section("model")]
    public string Depths { get; set; } = "16,64,256";

    [Option('p', "planes", Default = "16", MetaValue = "C", HelpText = "Channels of TinyResNet's stage.")]
    [Section("model")]
    public string Planes { get; set; } = "16";

    [Option("solver", Default = "euler", MetaValue = "euler|heun", HelpText = "Step of the stage.")]
    [Section("method")]
    public string SolverName { get; set; } = "euler";

    [Option('r', "reconstructions", Default = "adaptive,backprop", MetaValue = "METHOD,...", HelpText = "Methods to measure.")]
    [Section("method")]
    public string Methods { get; set; } = "adaptive,backprop";

    [Option('b', "batch", Default = "128", MetaValue = "B", HelpText = "Images a step (TinyResNet).")]
    [Section("training")]
    public string Batch { get; set; } = "128";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var networks = Network.Split(',').Select(n => Read.OneOf("network", n.Trim(), "tiny", "linear")).Distinct().ToList();
        var depths = Read.Wholes("depths", Depths, 1);
        var methods = Read.Reconstructions("reconstructions", Methods);
        Read.Choice<Solver>("solver", SolverName);
        Read.Whole("planes", Planes, 1);
        Read.Whole("batch", Batch, 1);
        if (FindDevice().type != DeviceType.CPU)
        {
            throw new UsageException("memory measures the process's resident memory; --device may be cpu alone");
        }

        if (Is(Resume))
        {
            throw new UsageException("memory has nothing to resume; take --overwrite");
        }

        var folder = RunFolder.Open(this);
        var rows = new List<Dictionary<string, object?>>();
        var (done, total) = (0, networks.Count * methods.Count * depths.Count);
        foreach (var network in networks)
        {
            foreach (var method in methods)
            {
                var points = new List<Dictionary<string, object?>>();
                foreach (var depth in depths)
                {
                    cancellation.ThrowIfCancellationRequested();
                    terminal.Progress((double)done++ / total, $"{network}, {method}, depth {depth}");
                    points.Add(Point(network, method, depth));
                    terminal.Row(points[^1]);
                }

                rows.AddRange(points);
                if (depths.Count > 1)
                {
                    rows.Add(Slopes(network, method, points));
                    terminal.Row(rows[^1]);
                }
            }
        }

        folder.WriteCsv("memory.csv", rows);
        terminal.Table(rows);
        foreach (var network in networks)
        {
            terminal.Say("figure: " + PaperFigure.Save(folder, $"memory-{network}", $"Memory of a training step, {network}", "Depth N", "Peak beyond rest (MiB)",
            [
                .. methods.Select(method =>
                {
                    var own = rows.Where(r => (string)r["network"]! == network && (string)r["reconstruction"]! == method.ToString() && r["depth"] is not null).ToList();
                    return new Series(method.ToString(), [.. own.Select(r => (double)(int)r["depth"]!)], [.. own.Select(r => (long)r["step_bytes"]! / 1048576.0)], Open: method.IsMemoryFree);
                }),
            ]));
        }
    }

    private Dictionary<string, object?> Point(string network, Reconstruction method, int depth)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // Blocks of a state's size go back to the system as soon as they are freed: what is measured is what lives, not the holes
        // of an allocator that tunes itself as it goes. The same for every method.
        start.Environment["MALLOC_MMAP_THRESHOLD_"] = "65536";
        string[] words = ["memory-point", "--network", network, "--depth", $"{depth}", "--planes", Planes, "--solver", SolverName, "--reconstruction", method.ToString(), "--batch", Batch, "--seed", Seed];
        foreach (var word in Threads is null ? words : [.. words, "--threads", Threads])
        {
            start.ArgumentList.Add(word);
        }

        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new ResNetNodesException($"measuring {network}, {method}, depth {depth} failed: {errors.Result.Trim().Split('\n')[^1]}");
        }

        using var point = JsonDocument.Parse(output);
        return new()
        {
            ["network"] = network,
            ["reconstruction"] = method.ToString(),
            ["depth"] = depth,
            ["peak_bytes"] = point.RootElement.GetProperty("peak_bytes").GetInt64(),
            ["step_bytes"] = point.RootElement.GetProperty("step_bytes").GetInt64(),
            ["bytes_per_layer"] = null,
            ["peak_bytes_per_layer"] = null,
        };
    }

    private static Dictionary<string, object?> Slopes(string network, Reconstruction method, List<Dictionary<string, object?>> points) => new()
    {
        ["network"] = network,
        ["reconstruction"] = method.ToString(),
        ["depth"] = null,
        ["peak_bytes"] = null,
        ["step_bytes"] = null,
        ["bytes_per_layer"] = Slope(points, "step_bytes"),
        ["peak_bytes_per_layer"] = Slope(points, "peak_bytes"),
    };

    // Least squares.
    private static double Slope(List<Dictionary<string, object?>> points, string key)
    {
        var x = points.Select(p => (double)(int)p["depth"]!).ToList();
        var y = points.Select(p => (double)(long)p[key]!).ToList();
        var (mx, my) = (x.Average(), y.Average());
        return x.Zip(y, (a, b) => (a - mx) * (b - my)).Sum() / x.Sum(a => (a - mx) * (a - mx));
    }
}

/// <summary>One point of <see cref="Memory"/>, in a process of its own.</summary>
[Verb("memory-point", Hidden = true, HelpText = "One point of memory; prints a JSON object.")]
internal sealed class MemoryPoint : CommonOptions
{
    [Option("network")]
    public string Network { get; set; } = "tiny";

    [Option("depth")]
    public string Depth { get; set; } = "16";

    [Option("planes")]
    public string Planes { get; set; } = "16";

    [Option("solver")]
    public string SolverName { get; set; } = "euler";

    [Option("reconstruction")]
    public string Method { get; set; } = "adaptive";

    [Option("batch")]
    public string Batch { get; set; } = "128";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        random.manual_seed(SeedNumber);
        var depth = Read.Whole("depth", Depth, 1);
        var options = new StageOptions
        {
            Solver = Read.Choice<Solver>("solver", SolverName),
            Reconstruction = Read.One("reconstruction", Method),
            AccumulateGradientsInPlace = true,
        };
        var (peak, step) = Network == "linear" ? Linear(depth, options) : Tiny(depth, options);
        Console.Out.WriteLine(JsonSerializer.Serialize(new Dictionary<string, long> { ["peak_bytes"] = peak, ["step_bytes"] = step }));
    }

    private (long Peak, long Step) Tiny(int depth, StageOptions options)
    {
        using var model = new TinyResNet(new TinyResNetOptions { Depth = depth, Planes = Read.Whole("planes", Planes, 1), ZeroInit = false, Stage = options });
        using var trainer = new Trainer(model, new TrainingOptions { LearningRate = 1e-3 });
        var batch = Read.Whole("batch", Batch, 1);
        using var images = randn(batch, 3, 32, 32);
        using var labels = randint(0, 10, batch, ScalarType.Int64);
        return MemoryProbe.Measure(() => trainer.TrainStep(images, labels));
    }

    private static (long Peak, long Step) Linear(int depth, StageOptions options)
    {
        const int width = 500, hidden = 8;
        using var function = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width));
        using var stage = ResidualStage.Shared(function, depth, options);
        using var optimizer = optim.SGD(stage.parameters(), 1e-3);
        using var x = randn(width, width);
        return MemoryProbe.Measure(() =>
        {
            using var scope = NewDisposeScope();
            optimizer.zero_grad();
            stage.call(x).pow(2).mean().BackwardThroughStages();
            optimizer.step();
        });
    }
}
