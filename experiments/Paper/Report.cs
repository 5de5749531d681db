using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Paper;

/// <summary>A claim of one run.</summary>
internal sealed record ReportRow(string Run, string Verb, string Claim, string Measured, bool? Holds);

/// <summary>All results on one page.</summary>
[Verb("report", HelpText = "Collect all results in a folder into one self-contained HTML page.")]
[Page(
    "Takes every finished run (summary.json) at and below --in, and writes report.html into --out.",
    "resnet-nodes report --in runs --out runs/report",
    "resnet-nodes report --in runs/small --overwrite --json")]
[JsonRows(typeof(ReportRow))]
internal sealed class Report : Verb
{
    [Option('i', "in", Default = "runs", MetaValue = "FOLDER", HelpText = "Folder to search for finished runs.")]
    [Section("data")]
    public string In { get => Given(); set => Set(value); }

    public FolderGroup Folder { get; } = new();

    public TerminalGroup Terminal { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var runs = Find(In);
        var folder = RunFolder.Open(this);
        var rows = runs.SelectMany(run => run.Summary.Findings.Select(f =>
            new ReportRow(run.Name, run.Summary.Verb, f.Claim, f.Measured, f.Holds))).ToList();
        rows.ForEach(terminal.Row);
        folder.WriteCsv("findings.csv", rows);
        folder.Write("report.html", HtmlReport.Write(runs));
        terminal.Table(rows);
        terminal.Say($"report of {runs.Count} runs: {folder.File("report.html")}");
    }

    // In the order of the verbs, then by name. Runs inside of runs (the sweep's) belong to the outer one.
    private List<ReportedRun> Find(string root)
    {
        if (!Directory.Exists(root))
        {
            throw new ResNetNodesException($"{root}: no such folder; name the folder of your runs with --in");
        }

        var found = new List<ReportedRun>();
        Walk(root);
        var order = Verbs.Visible.Select(NameOf).ToList();
        return found.Count > 0
            ? [.. found.OrderBy(run => order.IndexOf(run.Summary.Verb)).ThenBy(run => run.Name, StringComparer.Ordinal)]
            : throw new ResNetNodesException(
                $"{root}: holds no finished run (no {RunSummary.FileName}); run an experiment first, such as "
                + $"resnet-nodes linear-weights --out {root}/linear-weights");

        void Walk(string path)
        {
            var summary = Path.Combine(path, RunSummary.FileName);
            if (File.Exists(summary))
            {
                found.Add(Open(path, Path.GetRelativePath(root, path), summary));
                return;
            }

            foreach (var inner in Directory.EnumerateDirectories(path).Order(StringComparer.Ordinal))
            {
                Walk(inner);
            }
        }
    }

    private static ReportedRun Open(string path, string name, string summary)
    {
        var read = SealedJson.Read<RunSummary>(summary, "run it again with --overwrite");
        return new ReportedRun(path, name == "." ? read.Verb : name, read, RunConfig.Read(path));
    }
}
