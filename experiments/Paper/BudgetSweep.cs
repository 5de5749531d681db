using System.Globalization;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Planning;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// Memory and time of training steps of one network, within a budget or with one method throughout. Over is how much more of memory was
/// measured than the budget, as a fraction of it; below 0 where it was less.
/// </summary>
internal sealed record BudgetRow(
    string Network, string Method, long? BudgetBytes, long? PlannedBytes, long StepBytes, double? Over, double StepSeconds);

/// <summary>Time of a training step against its memory: budgets from the least to the most, and methods beside them.</summary>
/// <param name="network">What rows and figure call the network.</param>
/// <param name="words">The hidden verb for a network of that kind, with the options that are added to it.</param>
internal sealed class BudgetSweep(string network, Func<IReadOnlyList<(string Name, string? Value)>, List<string>> words)
{
    private const int TimedSteps = 7;
    private const double MostOver = 0.05, Noise = 1.05;

    /// <summary>Budgets that divide the way from the least to the most into equal ratios.</summary>
    /// <param name="plan">Names both.</param>
    /// <param name="count">How many, at least 2.</param>
    public static IReadOnlyList<long> Budgets(MemoryPlan plan, int count)
    {
        var ratio = (double)Math.Max(plan.MostBytes, plan.LeastBytes) / plan.LeastBytes;
        return [.. Enumerable.Range(0, count)
            .Select(i => (long)Math.Ceiling(plan.LeastBytes * Math.Pow(ratio, (double)i / (count - 1)))).Distinct()];
    }

    /// <summary>Measures all points, each in processes of its own, and leaves table, figure and findings.</summary>
    /// <param name="folder">Keeps what is measured.</param>
    /// <param name="budgets">In bytes, from the least on.</param>
    /// <param name="method">What parts reconstruct by, where a plan has them do so.</param>
    /// <param name="methods">Methods without a budget.</param>
    /// <param name="terminal">Shows rows and progress.</param>
    /// <param name="cancellation">Ends the sweep.</param>
    /// <returns>The findings.</returns>
    public IReadOnlyList<Finding> Run(
        RunFolder folder,
        IReadOnlyList<long> budgets,
        Reconstruction method,
        IReadOnlyList<Reconstruction> methods,
        Terminal terminal,
        CancellationToken cancellation)
    {
        var points = methods.Select(m => (Method: m, Budget: (long?)null)).Concat(budgets.Select(b => (Method: method, Budget: (long?)b)));
        var (rows, total) = (new List<BudgetRow>(), methods.Count + budgets.Count);
        foreach (var point in points)
        {
            cancellation.ThrowIfCancellationRequested();
            var what = point.Budget is { } budget
                ? $"{network}, {MemoryGroup.Mebibytes(budget)} MiB"
                : $"{network}, {point.Method}";
            terminal.Progress((double)rows.Count / total, what);
            var key = $"budget-{network}-{point.Budget?.ToString(CultureInfo.InvariantCulture) ?? point.Method.ToString()}";
            rows.Add(folder.Point(key, () => Measure(what, point.Method, point.Budget, cancellation)));
            terminal.Row(rows[^1]);
        }

        folder.WriteCsv("memory-budget.csv", rows);
        terminal.Table(rows);
        var planned = rows.Where(row => row.BudgetBytes is not null).ToList();
        terminal.Say("figure: " + Draw(folder, planned, [.. rows.Except(planned)]));
        return [Kept(planned), Falling(planned)];
    }

    private BudgetRow Measure(string what, Reconstruction method, long? budget, CancellationToken cancellation)
    {
        var all = words(
        [
            ("reconstruction", method.ToString()), ("memory", budget?.ToString(CultureInfo.InvariantCulture)),
            ("timed-steps", TimedSteps.ToString(CultureInfo.InvariantCulture)),
        ]);
        var step = MemoryProcess.Measure(what, all, cancellation);
        var seconds = MemoryProcess.Time(what, all, cancellation).StepSeconds!.Value;
        return new(
            network, budget is null ? method.ToString() : "plan", budget, step.Plan?.Bytes, step.StepBytes,
            ((double)step.StepBytes / budget) - 1, seconds);
    }

    private string Draw(RunFolder folder, IReadOnlyList<BudgetRow> planned, IReadOnlyList<BudgetRow> methods)
    {
        const double mebibyte = 1 << 20, milli = 1000;
        Series Of(string label, IReadOnlyList<BudgetRow> rows, string? colour = null) => new(
            label, [.. rows.Select(row => row.StepBytes / mebibyte)], [.. rows.Select(row => milli * row.StepSeconds)], colour);
        return PaperFigure.Save(
            folder, $"memory-budget-{network}", $"A training step within a budget, {network}",
            "Memory beyond rest, measured (MiB)", "Time (ms)",
            [
                Of("budgets", planned, PaperFigure.DarkBlue),
                .. methods.Select((row, i) => Of(row.Method, [row], PaperFigure.ColourAt(i + 1)) with { Open = true }),
            ]);
    }

    private Finding Kept(IReadOnlyList<BudgetRow> planned)
    {
        var worst = planned.MaxBy(row => row.Over)!;
        return new(
            $"Every budget is kept within 5 % ({network})",
            $"at most {worst.Over:+0.0 %;-0.0 %} of a budget, that of {MemoryGroup.Mebibytes(worst.BudgetBytes!.Value)} MiB",
            worst.Over <= MostOver);
    }

    private Finding Falling(IReadOnlyList<BudgetRow> planned)
    {
        // Beside the fastest step of those in less memory.
        var worst = planned.Skip(1).Select((row, i) => row.StepSeconds / planned.Take(i + 1).Min(before => before.StepSeconds))
            .DefaultIfEmpty(1).Max();
        return new(
            $"More memory makes no step slower ({network})",
            $"from {1000 * planned[0].StepSeconds:0.0} ms at the least to {1000 * planned[^1].StepSeconds:0.0} ms at the most; "
            + $"at most {worst - 1:+0.0 %;-0.0 %} beside a smaller budget",
            worst <= Noise);
    }
}
