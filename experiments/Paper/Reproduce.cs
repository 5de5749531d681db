using System.Diagnostics;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Paper;

/// <summary>An experiment that was run, or was found finished.</summary>
internal sealed record ReproduceRow(string Verb, string Folder, double Seconds);

/// <summary>Everything.</summary>
[Verb("reproduce", HelpText = "Run every experiment at a preset, one after the other, and write the report.")]
[Page(
    "All figures and tables of arXiv 2205.14612. If interrupted, --resume continues: finished experiments and points "
    + "are kept. mpirun -n K shares out the runs of each experiment to K processes.",
    "resnet-nodes reproduce --preset smoke --out runs/smoke     (half a minute on 2 cores)",
    "resnet-nodes reproduce --preset small --out runs/small     (50 minutes on 2 cores)",
    "resnet-nodes reproduce --preset small --out runs/small --resume")]
[JsonRows(typeof(ReproduceRow))]
[Ranked(sharesRuns: true)]
[Defaults("preset=small")]
[Preset("smoke", Summary = "each experiment at its preset smoke")]
[Preset("small", Summary = "each experiment at its preset small")]
[Preset("paper", Summary = "each experiment at its preset paper")]
internal sealed class Reproduce : Experiment
{
    [Option("only", MetaValue = "VERB,...", HelpText = "Run only these experiments.")]
    [Section("run")]
    [MayChange]
    public string? Only { get => Optional(); set => Set(value); }

    [Option("cifar10", MetaValue = "PATH", HelpText =
        "CIFAR-10 for experiments on images, instead of the preset's data set.")]
    [Section("data")]
    public string? Cifar10 { get => Optional(); set => Set(value); }

    [Option("imagenet", MetaValue = "FOLDER", HelpText = "ImageNet, for experiments whose preset is on it.")]
    [Section("data")]
    public string? ImageNet { get => Optional(); set => Set(value); }

    public SeedGroup Seed { get; } = new();

    public DeviceGroup Device { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var names = Verbs.Reproduced.Select(NameOf).ToList();
        var only = Only is { } text ? Read.Several("only", text, name => Read.OneOf("only", name, names)) : names;
        var chosen = Verbs.Reproduced.Where(verb => only.Contains(NameOf(verb))).ToList();
        Refuse("cifar10", Cifar10, chosen.Select(DataSetOf).Any(d => d is not null and not "imagenet"));
        Refuse("imagenet", ImageNet, chosen.Select(DataSetOf).Contains("imagenet"));
        // Wrong options of a later experiment should be known before the first has run for an hour, and leave no folder.
        foreach (var run in chosen.Select(verb => Verbs.Parse(verb, Words(verb, NameOf(verb)))))
        {
            run.Check();
        }

        var folder = RunFolder.Open(this);
        var runs = chosen.Select(verb => Verbs.Parse(verb, Words(verb, folder.NewRun(NameOf(verb))))).ToList();
        var rows = new List<ReproduceRow>();
        foreach (var (i, run) in runs.Index())
        {
            cancellation.ThrowIfCancellationRequested();
            var clock = Stopwatch.StartNew();
            using (terminal.Enter($"{i + 1}/{runs.Count + 1} {run.Name}"))
            {
                terminal.Say("start");
                run.Start(terminal, cancellation);
            }

            // Of the start that has finished it: later ones find all of it done.
            rows.Add(folder.Point(run.Name, () => new ReproduceRow(run.Name, folder.File(run.Name), clock.Elapsed.TotalSeconds)));
            terminal.Row(rows[^1]);
        }

        var report = Verbs.Parse(typeof(Report), ["--in", folder.Path, "--out", folder.NewRun("report"), "--overwrite"]);
        using (terminal.Enter($"{runs.Count + 1}/{runs.Count + 1} report"))
        {
            report.Start(terminal, cancellation);
        }

        folder.WriteCsv("experiments.csv", rows);
        terminal.Table(rows);
    }

    // What the experiment has and its preset leaves open: the seed of the linear case is part of the paper's figure.
    private List<string> Words(Type verb, string folder)
    {
        var preset = PresetAttribute.Of(verb, Preset.Name!);
        var words = WordsFor(verb, [.. preset.Select(option => (option.Split('=')[0], (string?)null))])[1..];
        words.AddRange([$"--preset={Preset.Name}", $"--out={folder}", "--resume"]);
        var data = DataSetOf(verb) switch { null => null, "imagenet" => ImageNet, _ => Cifar10 };
        if (data is not null)
        {
            words.AddRange(DataSetOf(verb) == "imagenet" ? [$"--data={data}"] : ["--dataset=cifar10", $"--data={data}"]);
        }

        return words;
    }

    // The data set of an experiment at the preset; null where it reads no images.
    private string? DataSetOf(Type verb) => Verbs.New(verb).Group<ImagesGroup>() is null
        ? null
        : VerbOption.ValueIn(PresetAttribute.Of(verb, Preset.Name!), "dataset") ?? "fashion-mnist";

    private static void Refuse(string name, string? value, bool isUsed)
    {
        if (value is not null && !isUsed)
        {
            throw new UsageException($"--{name} is {value}, but no experiment of this preset reads it");
        }
    }
}
