using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Paper;

/// <summary>What untying and refinement say of the paper's table 2: accuracy before and after, memory of a step.</summary>
internal sealed class FinetuneStatements
{
    // In points of accuracy: what a refinement may lose that loses nothing, and what untying may change.
    private const double Lost = 0.5, Changed = 0.1;

    private readonly List<FinetuneRow> rows;

    public FinetuneStatements(List<FinetuneRow> rows, List<FinetuneMemoryRow> memory, Reconstruction method, int classes)
    {
        this.rows = rows;
        Epochs = rows.Max(r => r.Epoch);
        var (tied, untied, refined) = (Accuracies("tied"), Accuracies("untied"), Refined(Epochs));
        var change = tied.Zip(untied, (a, b) => Math.Abs(a - b)).Max();
        var gain = Estimate.Of([.. refined.Zip(untied, (after, before) => after - before)]);
        bool? lossless = tied.Average() < 200.0 / classes ? null : gain.IsAbove(-Lost);
        Findings =
        [
            new(
                "Untying changes nothing at first",
                $"test accuracy {tied.Average():0.00} % tied, {untied.Average():0.00} % untied; they differ by "
                    + $"{change:0.00} points at most",
                change < Changed),
            new(
                $"Refinement of the untied network with the adjoint ({method}) does not lose accuracy",
                $"test accuracy {untied.Average():0.0} % before, {refined.Average():0.0} % after: {gain.Text("+0.00;-0.00")} points",
                lossless),
            .. memory.Count < 2 ? Array.Empty<Finding>() : [OfMemory(memory)],
        ];
        Title = gain.IsAbove(0) == true ? $"Untied and refined with {method}, a tied network gains accuracy"
            : lossless == true ? $"Untied and refined with {method}, a tied network loses no accuracy"
            : $"A tied network, untied and refined with {method}";
    }

    /// <summary>Epochs of refinement.</summary>
    public int Epochs { get; }

    public IReadOnlyList<Finding> Findings { get; }

    /// <summary>What holds of them, in short.</summary>
    public string Title { get; }

    /// <summary>Test accuracies of a network in percent, in the order of the seeds.</summary>
    public IReadOnlyList<double> Accuracies(string network) => In(rows.Where(r => r.Network == network));

    /// <summary>The same of the untied network after so many epochs of refinement.</summary>
    public IReadOnlyList<double> Refined(int epoch) =>
        epoch == 0 ? Accuracies("untied") : In(rows.Where(r => r.Network == "refined" && r.Epoch == epoch));

    private static List<double> In(IEnumerable<FinetuneRow> rows) => [.. rows.OrderBy(r => r.Seed).Select(r => 100 * r.TestAccuracy)];

    private static Finding OfMemory(List<FinetuneMemoryRow> memory)
    {
        var (own, backprop) = (memory[0].StepBytes, memory[1].StepBytes);
        const double mebibyte = 1 << 20;
        return new(
            "The adjoint refines in less memory",
            $"a step adds {own / mebibyte:0.0} MiB with {memory[0].Reconstruction}, {backprop / mebibyte:0.0} MiB with backprop",
            own < backprop);
    }
}
