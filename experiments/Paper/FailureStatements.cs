using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Paper;

/// <summary>The mean loss of the last steps of a run; of one that diverged, that of guessing.</summary>
internal sealed record FailureLoss(string Method, int Seed, int Steps, double Loss, bool Diverged, double? LargestGradientError);

/// <summary>What several methods of training a ResNet-101 say of the paper's figure 3b, by their last losses beside backprop's.</summary>
internal sealed class FailureStatements
{
    /// <summary>Over fewer steps than this, no method has had the time to fail or to learn.</summary>
    private const int EnoughSteps = 50;

    /// <summary>What the loss of a method that fails is above backprop's at least, and that of one that does not at most.</summary>
    private const double Failure = 0.2, Match = 0.03;

    /// <summary>What the error of a gradient is at most that is taken for backprop's.</summary>
    private const double Exact = 0.01;

    private readonly List<FailureRow> rows;

    public FailureStatements(List<FailureRow> rows, IReadOnlyList<string> methods, int steps, int classes)
    {
        (this.rows, Methods) = (rows, methods);
        // A sixth of the steps: long enough to be no single batch, short enough to be the end.
        var last = Math.Max(1, steps / 6);
        Losses =
        [
            .. rows.GroupBy(r => (r.Method, r.Seed)).Select(own =>
            {
                var diverged = !double.IsFinite(own.Last().Loss);
                return new FailureLoss(
                    own.Key.Method, own.Key.Seed, own.Count(), diverged ? Math.Log(classes) : own.TakeLast(last).Average(r => r.Loss),
                    diverged, own.Max(r => r.GradientError));
            }),
        ];
        (Findings, Title) = ([], "Training of a ResNet-101 of few, rough layers");
        if (!methods.Contains("backprop"))
        {
            return;
        }

        bool? Over(bool? holds) => steps < EnoughSteps ? null : holds;
        var (findings, said, good) = (new List<Finding>(), new List<string>(), new List<string>());
        foreach (var method in methods.Where(m => m != "backprop"))
        {
            var excess = Excess(method);
            var own = Losses.Where(l => l.Method == method).ToList();
            var measured = $"loss {own.Average(l => l.Loss):0.000} with {method}, {LossesOf("backprop").Average():0.000} with backprop: "
                + $"{Percent(excess)}{TrainedNetwork.DivergedOf([.. own.Select(l => l.Diverged)])}";
            if (method == "inverse")
            {
                // Where every seed diverges, and none of backprop's does, no interval is needed.
                var diverges = own.All(l => l.Diverged);
                var fails = Over(diverges && !Losses.Any(l => l.Method == "backprop" && l.Diverged) ? true : excess.IsAbove(Failure));
                findings.Add(new(
                    "The adjoint (inverse) fails on a ResNet-101 of few, rough layers: its loss ends 20 % above backprop's, or diverges",
                    $"{measured}; error of the gradient up to {own.Max(l => l.LargestGradientError) ?? 0:0.0e+0}", fails));
                if (fails == true)
                {
                    said.Add($"inverse loses the states and {(diverges ? "diverges" : "fails")}");
                }
            }
            else
            {
                var errors = Of(method).Select(r => r.GradientError).OfType<double>().ToList();
                var same = errors.TrueForAll(error => error <= Exact);
                findings.Add(new(
                    $"Ours: {method} takes backprop's gradient of a ResNet-101, to 1 %",
                    $"off by {errors.Max():0.0e+0} at most and {errors.Order().ElementAt(errors.Count / 2):0.0e+0} as a rule, "
                        + $"at {errors.Count} steps; {Of(method).Average(r => r.EvaluationsPerLayer):0.00} evaluations a layer on "
                        + "the way back",
                    same));
                findings.Add(new(
                    $"Ours: {method} trains a ResNet-101 as backprop does: its loss ends within 3 %",
                    measured,
                    Over(excess.IsWithin(Match))));
                if (same)
                {
                    good.Add(method);
                }
            }
        }

        Findings = findings;
        if (good.Count > 0)
        {
            said.Add($"{string.Join(" and ", good)} {(good.Count == 1 ? "takes" : "take")} backprop's gradient");
        }

        Title = said.Count > 0 ? $"ResNet-101: {string.Join("; ", said)}" : Title;
    }

    public IReadOnlyList<string> Methods { get; }

    /// <summary>One a method and seed.</summary>
    public IReadOnlyList<FailureLoss> Losses { get; }

    public IReadOnlyList<Finding> Findings { get; }

    /// <summary>What holds of them, in short.</summary>
    public string Title { get; }

    public IEnumerable<FailureRow> Of(string method) => rows.Where(r => r.Method == method);

    private static string Percent(Estimate excess) =>
        new Estimate(100 * excess.Value, 100 * excess.HalfWidth).Text("+0.0;-0.0") + " %";

    private List<double> LossesOf(string method) => [.. Losses.Where(l => l.Method == method).OrderBy(l => l.Seed).Select(l => l.Loss)];

    // A seed gives all methods the same weights and batches: the losses are compared one by one.
    private Estimate Excess(string method) =>
        Estimate.Of([.. LossesOf(method).Zip(LossesOf("backprop"), (own, backprop) => (own / backprop) - 1)]);
}
