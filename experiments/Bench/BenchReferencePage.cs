using System.Text;
using static ResNetNodes.Experiments.Bench.Markdown;

namespace ResNetNodes.Experiments.Bench;

/// <summary>The section of a page that shows comparisons with PyTorch, from the data that lie beside it.</summary>
internal static class BenchReferencePage
{
    private const string Begin = "<!-- beside PyTorch -->\n", End = "<!-- end of beside PyTorch -->\n";

    private const string Introduction =
        """
        ## Beside PyTorch

        Written by `scripts/compare-reference.sh`. PyTorch and this library train the same network (parameters and arithmetic of a forward
        pass are compared), in rounds that take turns on the same machine with the same number of threads; a round gives the median of its
        steps. Ratio: the median of the rounds over that of the better of `pytorch-eager` and `pytorch-channels-last` in the same
        precision; in brackets the least and the most of a round. bfloat16 is `torch.autocast` there, and mixed precision here: of all
        parts of a network of four stages, else of the residual functions. `pytorch-checkpoint` has round(√blocks) segments.


        """;

    /// <summary>The section with its marks; nothing but these where nothing is beside the page.</summary>
    public static string Section(string page)
    {
        var text = new StringBuilder(Begin);
        var machines = BenchReference.All(page);
        if (machines.Count > 0)
        {
            text.Append(Introduction);
            WriteGoals(text, machines);
            foreach (var machine in machines)
            {
                WriteMachine(text, machine);
            }
        }

        return text.Append(End).ToString();
    }

    /// <summary>A page with the section anew; everything else stays.</summary>
    /// <param name="page">Its file.</param>
    /// <param name="text">Its text.</param>
    public static string Renewed(string page, string text)
    {
        var (from, to) = (text.IndexOf(Begin, StringComparison.Ordinal), text.IndexOf(End, StringComparison.Ordinal));
        if (from >= 0 && to > from)
        {
            return text[..from] + Section(page) + text[(to + End.Length)..];
        }

        // A page that was written before there were comparisons: behind its introduction.
        var at = text.IndexOf("\n## ", StringComparison.Ordinal);
        return at < 0 ? text + "\n" + Section(page) : text[..(at + 1)] + Section(page) + text[at..];
    }

    private static void WriteGoals(StringBuilder text, IReadOnlyList<BenchReference> machines)
    {
        var goals = (
            from machine in machines
            from goal in machine.Comparisons.SelectMany(BenchGoals.Of)
            select (string[])[goal.Claim, machine.Machine.Name, goal.Measured, BenchGoals.Verdict(goal)]).ToList();
        if (goals.Count > 0)
        {
            text.Append("### Goals against PyTorch\n\n");
            Table(text, ["goal", "machine", "measured", ""], goals);
            text.Append('\n');
        }
    }

    private static void WriteMachine(StringBuilder text, BenchReference reference)
    {
        var machine = reference.Machine;
        text.Append(Inv($"### On {machine.Name}\n\n"));
        Table(text, ["", ""], BenchPage.Hardware(machine, reference.Peak));
        foreach (var comparison in reference.Comparisons)
        {
            Write(text, comparison);
        }

        text.Append('\n');
    }

    private static void Write(StringBuilder text, BenchComparison comparison)
    {
        var (setting, rows) = (comparison.Setting, ComparedRow.Of(comparison).ToList());
        text.Append(Inv($"\n#### {BenchTitle.Of(setting)}\n\n"));
        text.Append(Inv($"{comparison.Parameters:N0} parameters, {comparison.ForwardGflop:0.###} GFLOP in a forward pass; "));
        text.Append(Inv($"{comparison.Rounds} rounds of {comparison.Steps} steps, {comparison.Threads} threads, "));
        text.Append(Inv($"PyTorch {comparison.PytorchVersion}, {comparison.Date}, "));
        text.Append(Inv($"commit {comparison.Commit ?? "not known"}: `{comparison.Command}`\n"));
        foreach (var precision in rows.GroupBy(row => row.Precision))
        {
            text.Append('\n');
            Table(
                text, ["method", precision.Key + ": ratio to PyTorch's best", "ratio to stock TorchSharp", "time (ms)"],
                precision.Select(row => (string[])
                [
                    $"`{row.Method}`",
                    row.Failure is null ? Range(row.RatioToPytorch, row.RatioLeast, row.RatioMost, "0.00") : Cell(row.Failure),
                    Number(row.RatioToBackprop, "0.00"),
                    Range(row.StepSeconds * 1e3, row.StepSecondsFastest * 1e3, row.StepSecondsSlowest * 1e3, "0.0"),
                ]));
        }
    }

    // What someone else's program says, as a cell holds it.
    private static string Cell(string text) => "does not run: " + OneLine.Of(text, 200).Replace("|", "\\|", StringComparison.Ordinal);
}
