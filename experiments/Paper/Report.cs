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
        // All of it is read before there is a folder: what can't be shown leaves nothing.
        var page = HtmlReport.Write(runs);
        var folder = RunFolder.Open(this);
        var rows = runs.SelectMany(run => run.Summary.Findings.Select(f =>
            new ReportRow(
                OneLine.Of(run.Name), OneLine.Of(run.Summary.Verb), OneLine.Of(f.Claim), OneLine.Of(f.Measured), f.Holds))).ToList();
        rows.ForEach(terminal.Row);
        folder.WriteCsv("findings.csv", rows);
        folder.Write("report.html", page);
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
            if (File.Exists(Path.Combine(path, RunSummary.FileName)))
            {
                found.Add(ReportedRun.Open(path, Path.GetRelativePath(root, path)));
                return;
            }

            foreach (var inner in Inner(path))
            {
                Walk(inner);
            }
        }
    }

    // Not through links: they may lead out of the folder, or back into it.
    private static IReadOnlyList<string> Inner(string path)
    {
        try
        {
            return
            [
                .. new DirectoryInfo(path).EnumerateDirectories().Where(inner => inner.LinkTarget is null)
                    .Select(inner => Path.Combine(path, inner.Name)).Order(StringComparer.Ordinal),
            ];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be searched for runs: {exception.Message}", exception);
        }
    }
}
