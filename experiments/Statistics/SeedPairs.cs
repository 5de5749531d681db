using System.Globalization;

namespace ResNetNodes.Experiments.Statistics;

/// <summary>
/// Methods of training beside stored states, run by run: runs of a seed share their first weights and the order of images. How far chance
/// alone takes two runs of a seed apart is read off methods whose gradients are those of stored states, over all networks; without such
/// methods, it is taken from the seeds of stored states.
/// </summary>
internal sealed class SeedPairs<TNetwork>
{
    private readonly Func<string, TNetwork, IReadOnlyList<double>> results;
    private readonly string stored;
    private readonly Scatter? seeds, chance;

    /// <summary>The pairs of several networks.</summary>
    /// <param name="results">Of a method and a network, one a seed, in the order of the seeds.</param>
    /// <param name="networks">What the methods train.</param>
    /// <param name="stored">The method that stores states.</param>
    /// <param name="methods">All methods: those but <c>inverse</c> have the same gradients.</param>
    public SeedPairs(
        Func<string, TNetwork, IReadOnlyList<double>> results,
        IReadOnlyList<TNetwork> networks,
        string stored,
        IReadOnlyList<Reconstruction> methods)
    {
        (this.results, this.stored) = (results, stored);
        seeds = Scatter.Of(networks.Select(network => results(stored, network)));
        var exact = methods.Where(m => m.IsMemoryFree && m != Reconstruction.Inverse).Select(m => m.ToString()).ToList();
        chance = exact.Count > 0
            ? Scatter.Of(exact.SelectMany(method => networks.Select(network => Gaps(method, network))))
            : seeds is null ? null : seeds with { Deviation = Math.Sqrt(2) * seeds.Deviation };
    }

    /// <summary>What another seed does to a run of stored states, as ± 4.8; null where there is one seed.</summary>
    public string? OtherSeed => seeds is null ? null : string.Create(CultureInfo.InvariantCulture, $"± {seeds.Reach():0.0}");

    /// <summary>Differences from stored states, seed by seed.</summary>
    public IReadOnlyList<double> Gaps(string method, TNetwork network) =>
        [.. results(method, network).Zip(results(stored, network), (own, other) => own - other)];

    /// <summary>The mean difference from stored states.</summary>
    /// <param name="method">The method.</param>
    /// <param name="network">What it trains.</param>
    /// <param name="comparisons">Differences that are to hold all at once.</param>
    public Estimate Difference(string method, TNetwork network, int comparisons)
    {
        var gaps = Gaps(method, network);
        return new(gaps.Average(), chance?.Reach(comparisons) / Math.Sqrt(gaps.Count) ?? double.PositiveInfinity);
    }

    /// <summary>Whether its whole interval lies within what another seed does to a run of stored states.</summary>
    public bool? Matches(Estimate difference) => seeds is null ? null : difference.IsWithin(seeds.Reach());
}
