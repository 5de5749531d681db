using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// What a sweep over depths says of the paper's figure 3c, by differences of the test error from that of stored states, seed by seed
/// (<see cref="SeedPairs{TNetwork}"/>). Intervals hold for all depths and networks at once.
/// </summary>
internal sealed class SweepStatements
{
    /// <summary>Points of test error by which a method must be worse to have failed.</summary>
    private const double Failure = 2;

    private readonly List<SweepRow> rows;
    private readonly IReadOnlyList<string> solvers;
    private readonly IReadOnlyList<int> depths;
    private readonly string? stored;

    // Percent of test error from which on a network has not learned enough to be compared.
    private readonly double unlearned;

    private readonly Dictionary<string, SeedPairs<int>> pairs = [];

    public SweepStatements(
        List<SweepRow> rows,
        IReadOnlyList<string> solvers,
        IReadOnlyList<Reconstruction> methods,
        IReadOnlyList<int> depths,
        int classes)
    {
        (this.rows, this.solvers, this.depths) = (rows, solvers, [.. depths.Order()]);
        unlearned = 100 - (200.0 / classes);
        stored = methods.FirstOrDefault(m => !m.IsMemoryFree)?.ToString();
        if (stored is null)
        {
            (Findings, Title) = ([], "Test error against depth");
            return;
        }

        foreach (var solver in solvers)
        {
            pairs[solver] = new((method, depth) => Errors(solver, method, depth), depths, stored, methods);
        }

        var titles = new List<string>();
        var findings = new List<Finding>();
        foreach (var method in methods.Where(m => m.IsMemoryFree))
        {
            var name = method.ToString();
            foreach (var (finding, title) in method == Reconstruction.Inverse ? [.. Failures(), Reaches()] : (Said[])[AsBackprop(name)])
            {
                findings.Add(finding);
                if (finding.Holds == true && title.Length > 0)
                {
                    titles.Add(title);
                }
            }
        }

        (Findings, Title) = (findings, titles.Count > 0 ? string.Join("; ", titles) : "Test error against depth");
    }

    private sealed record Said(Finding Finding, string Title);

    public IReadOnlyList<Finding> Findings { get; }

    /// <summary>What holds of them, in short.</summary>
    public string Title { get; }

    public IEnumerable<double> All => rows.Select(row => row.TestError);

    /// <summary>Test errors in percent, in the order of the seeds.</summary>
    public IReadOnlyList<double> Errors(string solver, string method, int depth) =>
    [
        .. rows.Where(r => r.Solver == solver && r.Reconstruction == method && r.Depth == depth).OrderBy(r => r.Seed)
            .Select(r => r.TestError),
    ];

    private static string Network(string solver) => PaperFigure.NetworkOf(solver);

    private Estimate Difference(string solver, string method, int depth) =>
        pairs[solver].Difference(method, depth, solvers.Count * depths.Count);

    private bool? Matches(string solver, string method, int depth) => pairs[solver].Matches(Difference(solver, method, depth));

    private string OfSeeds() => solvers.All(solver => pairs[solver].OtherSeed is not null)
        ? $"; another seed does {string.Join(", ", solvers.Select(solver => $"{pairs[solver].OtherSeed} ({Network(solver)})"))}"
        : string.Empty;

    private IEnumerable<Said> Failures()
    {
        const string inverse = "inverse";
        if (!solvers.Contains("euler"))
        {
            yield break;
        }

        var least = depths[0];
        // By its own scatter: where a method fails, seeds lie further apart than chance takes two runs that train alike.
        var gap = Estimate.Of(pairs["euler"].Gaps(inverse, least));
        yield return new(
            new(
                $"ResNet: the adjoint (inverse) fails at depth {least}",
                $"test error {Errors("euler", inverse, least).Average():0.0} % with inverse, "
                    + $"{Errors("euler", stored!, least).Average():0.0} % with {stored}: {gap.Text("+0.0;-0.0")} points"
                    + Diverged("euler", least),
                HasLearned(least) ? gap.IsAbove(Failure) : null),
            $"inverse fails at depth {least}");
        // Where it costs ResNet more than seeds do.
        foreach (var depth in depths.Where(d => solvers.Contains("heun") && Difference("euler", inverse, d).IsAbove(0) == true))
        {
            var (euler, heun) = (pairs["euler"].Gaps(inverse, depth), pairs["heun"].Gaps(inverse, depth));
            var less = Estimate.Of([.. euler.Zip(heun, (one, other) => one - other)]);
            yield return new(
                new(
                    $"HeunNet: the adjoint (inverse) fails less at depth {depth}",
                    $"it costs {heun.Average():0.0} points with HeunNet, {euler.Average():0.0} with ResNet: {less.Text("0.0")} less"
                        + Diverged("heun", depth),
                    HasLearned(depth) ? less.IsAbove(0) : null),
                string.Empty);
        }
    }

    private string Diverged(string solver, int depth) => TrainedNetwork.DivergedOf(
        [.. rows.Where(r => r.Solver == solver && r.Depth == depth && r.Reconstruction == "inverse").Select(r => r.Diverged)]);

    private bool HasLearned(int depth) => solvers.All(solver => Errors(solver, stored!, depth).Average() < unlearned);

    // The least depth from which on it matches.
    private Said Reaches()
    {
        int? From(string solver) => depths.Reverse().TakeWhile(d => Matches(solver, "inverse", d) == true)
            .Select(d => (int?)d).LastOrDefault();
        var (from, deepest) = (solvers.Select(From).ToList(), depths[^1]);
        var last = solvers.Select(solver => Difference(solver, "inverse", deepest)).ToList();
        var measured = solvers.Select((solver, i) =>
            $"{Network(solver)} {(from[i] is { } depth ? $"from depth {depth}" : "at no depth")} "
            + $"({last[i].Text("+0.0;-0.0")} points at {deepest})");
        return new(
            new(
                "The adjoint (inverse) reaches backprop within the scatter of seeds from some depth on",
                $"{string.Join(", ", measured)}{OfSeeds()}",
                HasLearned(deepest) ? Verdict.All(solvers.Select(solver => Matches(solver, "inverse", deepest))) : null),
            from.Any(depth => depth > depths[0]) ? $"it matches backprop from depth {from.Max()}" : string.Empty);
    }

    private Said AsBackprop(string method)
    {
        var all = solvers.SelectMany(solver => depths.Select(depth => (
            Solver: solver, Depth: depth, Estimate: Difference(solver, method, depth)))).ToList();
        var worst = all.MaxBy(d => Math.Abs(d.Estimate.Value));
        return new(
            new(
                $"Ours: {method} trains as backprop does at every depth",
                $"test error differs by {worst.Estimate.Text("+0.0;-0.0")} points at most ({Network(worst.Solver)}, depth {worst.Depth})"
                    + OfSeeds(),
                depths.All(HasLearned) ? Verdict.All(all.Select(d => Matches(d.Solver, method, d.Depth))) : null),
            $"{method} trains as backprop");
    }
}
