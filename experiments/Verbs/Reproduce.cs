using System.Diagnostics;
using CommandLine;
using ResNetNodes.Experiments.Cli;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>An experiment that was run, or was found finished.</summary>
internal sealed record ReproduceRow(string Verb, string Folder, double Seconds);

/// <summary>Everything.</summary>
[Verb("reproduce", HelpText = "Run every experiment at a preset, one after the other, and write the report.")]
[Page(
    "All figures and tables of arXiv 2205.14612. Interrupted, it goes on with --resume: finished experiments and points are kept.",
    "resnet-nodes reproduce --preset smoke --out runs/smoke     (half a minute on 2 cores)",
    "resnet-nodes reproduce --preset small --out runs/small     (under an hour on 2 cores)",
    "resnet-nodes reproduce --preset small --out runs/small --resume")]
[JsonRows(typeof(ReproduceRow))]
[Defaults("preset=small")]
[Preset("smoke")]
[Preset("small")]
[Preset("paper")]
internal sealed class Reproduce : CommonOptions
{
    /// <summary>In the order of their length, so that the first results are there soon.</summary>
    private static readonly IReadOnlyList<Type> Experiments =
    [
        typeof(LinearWeights), typeof(Memory), typeof(Discretization), typeof(Train), typeof(CompareGradients),
        typeof(AdjointFailure), typeof(Tied), typeof(Finetune), typeof(DepthSweep),
    ];

    [Option("only", MetaValue = "VERB,...", HelpText = "These experiments alone.")]
    [Section("run")]
    [MayChange]
    public string? Only { get; set; }

    [Option("cifar10", MetaValue = "PATH", HelpText = "CIFAR-10 for experiments on images, in place of the preset's Fashion-MNIST.")]
    [Section("data")]
    public string? Cifar10 { get; set; }

    [Option("imagenet", MetaValue = "FOLDER", HelpText = "ImageNet for the preset paper's adjoint-failure.")]
    [Section("data")]
    public string? ImageNet { get; set; }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var names = Experiments.Select(StrictArguments.NameOf).ToList();
        var only = Only?.Split(',').Select(name => Read.OneOf("only", name, names)).ToList() ?? names;
        var chosen = Experiments.Where(verb => only.Contains(StrictArguments.NameOf(verb))).ToList();
        var folder = RunFolder.Open(this);
        // Wrong options of a later experiment should be known before the first has run for an hour.
        var runs = chosen.Select(verb => (Verb: verb, Options: Program.Parse(verb, Words(verb, folder)))).ToList();
        var rows = new List<ReproduceRow>();
        foreach (var (i, (verb, options)) in runs.Index())
        {
            cancellation.ThrowIfCancellationRequested();
            var clock = Stopwatch.StartNew();
            using (terminal.Enter($"{i + 1}/{runs.Count + 1} {StrictArguments.NameOf(verb)}"))
            {
                terminal.Say("start");
                options.Start(terminal, cancellation);
            }

            rows.Add(new(StrictArguments.NameOf(verb), options.Out!, clock.Elapsed.TotalSeconds));
            terminal.Row(rows[^1]);
        }

        var report = Program.Parse(typeof(Report), ["--in", folder.Path, "--out", folder.File("report"), "--overwrite"]);
        using (terminal.Enter($"{runs.Count + 1}/{runs.Count + 1} report"))
        {
            report.Start(terminal, cancellation);
        }

        terminal.Table(rows);
    }

    private List<string> Words(Type verb, RunFolder folder)
    {
        List<string> words = ["--preset", Preset!, "--out", folder.File(StrictArguments.NameOf(verb)), "--resume", "--seed", Seed, "--device", Device];
        if (Threads is not null)
        {
            words.AddRange(["--threads", Threads]);
        }

        if (typeof(ImageOptions).IsAssignableFrom(verb))
        {
            var images = PresetAttribute.Of(verb, Preset!).FirstOrDefault(o => o.StartsWith("dataset=", StringComparison.Ordinal))?["dataset=".Length..];
            var data = images == "imagenet" ? ImageNet : Cifar10;
            if (data is not null)
            {
                words.AddRange(images == "imagenet" ? ["--data", data] : ["--dataset", "cifar10", "--data", data]);
            }
        }

        // The seed of the linear case is part of the paper's figure.
        if (verb == typeof(LinearWeights) || verb == typeof(DepthSweep))
        {
            words.RemoveRange(words.IndexOf("--seed"), 2);
        }

        return words;
    }
}
