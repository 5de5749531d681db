using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Paper;

/// <summary>The best test accuracy of a network of tied weights, in percent.</summary>
internal sealed record TiedResult(string Size, string Reconstruction, int Seed, double TestAccuracy, bool Diverged);

/// <summary>
/// What networks of tied weights say of the paper's figure 3a: does the adjoint train as stored states do? They are compared seed by
/// seed (<see cref="SeedPairs{TNetwork}"/>); intervals hold for all sizes at once.
/// </summary>
internal sealed class TiedStatements
{
    private const string NoTitle = "Test accuracy of networks of tied weights";

    public TiedStatements(
        IReadOnlyList<TiedResult> results, IReadOnlyList<string> sizes, IReadOnlyList<Reconstruction> methods, int classes)
    {
        Results = results;
        (Findings, Title) = ([], NoTitle);
        if (methods.FirstOrDefault(m => !m.IsMemoryFree)?.ToString() is not { } stored)
        {
            return;
        }

        var pairs = new SeedPairs<string>((method, size) => Accuracies(size, method), sizes, stored, methods);
        var ofSeeds = pairs.OtherSeed is { } other ? $"; another seed does {other}" : string.Empty;
        var (findings, same) = (new List<Finding>(), new List<string>());
        foreach (var method in methods.Where(m => m.IsMemoryFree).Select(m => m.ToString()))
        {
            var before = findings.Count;
            foreach (var size in sizes)
            {
                var (difference, learned) = (pairs.Difference(method, size, sizes.Count), Accuracies(size, stored).Average());
                findings.Add(new(
                    $"{(method == "inverse" ? "Tied" : "Ours: tied")} weights train with {method} as with {stored} ({size})",
                    $"test accuracy {Accuracies(size, method).Average():0.0} % with {method}, {learned:0.0} % with {stored}: "
                        + $"{difference.Text("+0.0;-0.0")} points{ofSeeds}{DivergedOf(size, method)}",
                    learned < 200.0 / classes ? null : pairs.Matches(difference)));
            }

            if (Verdict.All(findings.Skip(before).Select(f => f.Holds)) == true)
            {
                same.Add(method);
            }
        }

        Findings = findings;
        Title = same.Count > 0 ? $"Tied weights train with {string.Join(" and ", same)} as with {stored}, at every depth" : NoTitle;
    }

    public IReadOnlyList<TiedResult> Results { get; }

    public IReadOnlyList<Finding> Findings { get; }

    /// <summary>What holds of them, in short.</summary>
    public string Title { get; }

    /// <summary>In percent, in the order of the seeds.</summary>
    public IReadOnlyList<double> Accuracies(string size, string method) =>
    [
        .. Results.Where(r => r.Size == size && r.Reconstruction == method).OrderBy(r => r.Seed).Select(r => r.TestAccuracy),
    ];

    private string DivergedOf(string size, string method) => TrainedNetwork.DivergedOf(
        [.. Results.Where(r => r.Size == size && r.Reconstruction == method).Select(r => r.Diverged)]);
}
