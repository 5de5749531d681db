using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;

namespace ResNetNodes.Experiments.Bench;

/// <summary>The end of scripts/compare-reference.sh: rounds of both sides as a table, in a page's data and on the page.</summary>
[Verb("bench-reference", Hidden = true, HelpText = "Rounds of scripts/compare-reference.sh as a table, and on a page.")]
internal sealed class BenchReferenceVerb : Verb
{
    [Option("rounds", Default = ".", MetaValue = "FOLDER", HelpText = "Holds pytorch-1.json, ours-1.json, and so on.")]
    public string Rounds { get => Given(); set => Set(value); }

    [Option("steps", Default = "1", HelpText = "Measured steps of each method in a round.")]
    public string Steps { get => Given(); set => Set(value); }

    [Option("command", Default = "", HelpText = "What the page says it was measured by.")]
    public string Command { get => Given(); set => Set(value); }

    [Option("page", MetaValue = "FILE", HelpText = "Also on this page, with the raw data in a folder beside it.")]
    public string? Page { get => Optional(); set => Set(value); }

    public ThreadsGroup Threads { get; } = new();

    public TerminalGroup Terminal { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        if (Page is not null)
        {
            BenchPage.Check(Page);
        }

        var machine = BenchMachine.Here();
        var comparison = BenchComparison.Read(Rounds, machine, Read.Whole("steps", Steps), Command);
        var rows = ComparedRow.Of(comparison).ToList();
        rows.ForEach(terminal.Row);
        terminal.Say(BenchTitle.Of(comparison.Setting));
        terminal.Table([.. rows.Select(Shown)]);
        foreach (var goal in BenchGoals.Of(comparison))
        {
            terminal.Say($"{goal.Claim}: {BenchGoals.Verdict(goal).Trim('*')}: {goal.Measured}");
        }

        if (Page is not null)
        {
            BenchPage.MakeFolder(Page);
            BenchReference.Add(Page, machine, BenchPeak.Measure(cancellation), comparison);
            BenchPage.Renew(Page);
            terminal.Say("page: " + Page);
        }
    }

    private static IReadOnlyDictionary<string, object?> Shown(ComparedRow row) => new Dictionary<string, object?>
    {
        ["method"] = row.Method,
        ["precision"] = row.Precision,
        ["ratio to PyTorch's best"] = Markdown.Range(row.RatioToPytorch, row.RatioLeast, row.RatioMost, "0.000"),
        ["to stock TorchSharp"] = Markdown.Number(row.RatioToBackprop, "0.000"),
        ["ms"] = Markdown.Range(row.StepSeconds * 1e3, row.StepSecondsFastest * 1e3, row.StepSecondsSlowest * 1e3, "0.00"),
        ["failure"] = row.Failure,
    };
}
