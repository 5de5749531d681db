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
    // Processes of which the fastest is told, and steps in each: what disturbs one makes it slower.
    private const int Rounds = 3, TimedSteps = 7;
    private const double MostOver = 0.05, Noise = 1.05;

    /// <summary>Budgets that divide the way from the least to the most into equal ratios.</summary>
    /// <param name="plan">Names both.</param>
    /// <param name="count">How many, at least 2.</param>
    public static IReadOnlyList<long> Budgets(MemoryPlan plan, int count)
    {
        var most = Math.Max(plan.MostBytes, plan.LeastBytes);
        var ratio = (double)most / plan.LeastBytes;
        // The power of the last is off by rounding.
        return [.. Enumerable.Range(0, count)
            .Select(i => Math.Min(most, (long)Math.Ceiling(plan.LeastBytes * Math.Pow(ratio, (double)i / (count - 1))))).Distinct()];
    }

    /// <summary>
    /// Measures all points, each in processes of its own, and leaves table, figure and findings. Times are measured in rounds over all
    /// points, so that what slows the machine for a while slows all.
    /// </summary>
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
        List<Point> points = [.. methods.Select(m => new Point(m, null)), .. budgets.Select(b => new Point(method, b))];
        var (done, total) = (0, points.Count * (1 + Rounds));
        T Measured<T>(string kind, Point point, int timedSteps, Func<string, List<string>, CancellationToken, T> measure)
            where T : class
        {
            cancellation.ThrowIfCancellationRequested();
            var what = $"{network}, {point.Label}";
            terminal.Progress((double)done++ / total, what);
            return folder.Point($"{kind}-{network}-{point.Key}", () => measure(what, Words(point, timedSteps), cancellation));
        }

        var memory = points.Select(point => Measured("bytes", point, 0, MemoryProcess.Measure)).ToList();
        var rounds = Enumerable.Range(1, Rounds)
            .Select(round => points.Select(point => Measured($"times{round}", point, TimedSteps, MemoryProcess.Time)).ToList()).ToList();
        var rows = points.Select((point, i) => RowOf(point, memory[i], [.. rounds.Select(round => round[i].StepSeconds)])).ToList();

        folder.WriteCsv("memory-budget.csv", rows);
        rows.ForEach(terminal.Row);
        terminal.Table(rows);
        var planned = rows.Where(row => row.BudgetBytes is not null).ToList();
        terminal.Say("figure: " + Draw(folder, planned, [.. rows.Except(planned)]));
        return [Kept(planned), Falling(planned)];
    }

    private List<string> Words(Point point, int timedSteps) => words(
    [
        ("reconstruction", point.Method.ToString()), ("memory", point.Budget?.ToString(CultureInfo.InvariantCulture)),
        ("timed-steps", timedSteps.ToString(CultureInfo.InvariantCulture)),
    ]);

    private BudgetRow RowOf(Point point, MeasuredMemory memory, IReadOnlyList<double> seconds) => new(
        network, point.Budget is null ? point.Method.ToString() : "plan", point.Budget, memory.Plan?.Bytes, memory.StepBytes,
        ((double)memory.StepBytes / point.Budget) - 1, seconds.Min());

    private string Draw(RunFolder folder, IReadOnlyList<BudgetRow> planned, IReadOnlyList<BudgetRow> methods)
    {
        const double mebibyte = 1 << 20, milli = 1000;
        Series Of(string label, IReadOnlyList<BudgetRow> rows, string? colour = null) => new(
            label, [.. rows.Select(row => row.StepBytes / mebibyte)], [.. rows.Select(row => milli * row.StepSeconds)], colour);
        var title = $"A training step of {network} within a budget: from {milli * planned[0].StepSeconds:0.0} ms "
            + $"in {MemoryGroup.Mebibytes(planned[0].StepBytes)} MiB to {milli * planned[^1].StepSeconds:0.0} ms "
            + $"in {MemoryGroup.Mebibytes(planned[^1].StepBytes)} MiB";
        Marker[] marks = [Marker.Square, Marker.Triangle, Marker.Circle];
        var panel = new Panel("Peak memory beyond rest (MiB)", "Time of a step (ms)",
        [
            Of("budgets", planned, "#000000"),
            .. methods.Select((row, i) => Of(row.Method, [row], PaperFigure.ColourOfMethod(row.Method))
                with { Marker = marks[i % marks.Length], Stroke = Stroke.None }),
        ])
        {
            LogX = true,
        };
        return PaperFigure.Save(folder, $"memory-budget-{network}", title, panel);
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

    // What is measured: a method throughout, or within a budget.
    private sealed record Point(Reconstruction Method, long? Budget)
    {
        public string Key => Budget?.ToString(CultureInfo.InvariantCulture) ?? Method.ToString();

        public string Label => Budget is { } budget ? $"{MemoryGroup.Mebibytes(budget)} MiB" : Method.ToString();
    }
}
