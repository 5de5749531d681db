using System.Globalization;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Bench;

/// <summary>
/// What the engine is to reach, against what was measured; a goal whose point was not measured is left out.
/// </summary>
internal static class BenchGoals
{
    private const int Depth = 64;

    // Below, what does not belong to the layers decides the time and the memory of a step.
    private const int LeastDepth = 16;

    private const double MostBytesPerLayer = 4096, LeastExponent = 0.98, MostExponent = 1.02, MostOverhead = 0.03, LeastEpochShare = 0.9;

    // Times of TinyResNet's step over stock backprop's.
    private static readonly (int Planes, string Method, double Most)[] Ratios =
    [
        (16, "adaptive", 0.7), (16, "corrected", 0.7), (16, "extrapolated", 0.6), (16, "backprop", 0.45),
        (64, "adaptive", 1.0), (64, "corrected", 1.0), (64, "backprop", 0.7),
    ];

    // Times over those of PyTorch's best in the same precision.
    private static readonly (Func<BenchSetting, bool> Means, string Precision, (string Method, double Most)[] Ratios)[] Beside =
    [
        (s => s is { Network: "bottleneck", Planes: 256, Depth: 32, Batch: 16 }, BenchNetwork.Float32,
            [("backprop", 0.55), ("extrapolated", 0.75), ("adaptive", 0.9)]),
        (s => s is { Network: "tiny", Planes: 16 or 64, Depth: Depth, Batch: 128 }, BenchNetwork.Float32,
            [("backprop", 0.5), ("extrapolated", 0.5), ("adaptive", 0.6)]),
        (IsWhole, BenchNetwork.Float32, [("backprop", 0.8), ("adaptive", 1.0)]),
        (IsWhole, BenchNetwork.Bfloat16, [("backprop", 1.0), ("adaptive", 1.6)]),
    ];

    /// <summary>Against PyTorch.</summary>
    public static IEnumerable<Finding> Of(BenchComparison comparison) =>
        from goals in Beside
        where goals.Means(comparison.Setting)
        from goal in goals.Ratios
        from row in ComparedRow.Of(comparison)
        where row.Method == goal.Method && row.Precision == goals.Precision && row.RatioToPytorch is not null
        select new Finding(
            $"A step of `{goal.Method}` takes at most {Text(goal.Most)} of PyTorch's best ({BenchTitle.Of(comparison.Setting)}"
                + (goals.Precision == BenchNetwork.Float32 ? ")" : $", {goals.Precision})"),
            Markdown.Range(row.RatioToPytorch, row.RatioLeast, row.RatioMost, "0.00"),
            row.RatioToPytorch <= goal.Most);

    /// <summary>Whether a goal was reached, as a page says it.</summary>
    public static string Verdict(Finding goal) => goal.Holds == true ? "reached" : "**missed**";

    /// <summary>Against stock TorchSharp, and of the engine by itself.</summary>
    public static IEnumerable<Finding> Of(BenchResults results) =>
        [.. OfRatios(results), .. OfGroups(results), .. results.Epochs.Select(OfEpoch)];

    private static bool IsWhole(BenchSetting setting) =>
        setting is { Network: "ode", Size: "34" or "101", Planes: 64, Classes: 1000, TrainSteps: 20 }
        && (setting.Image, setting.Batch) is (32, 128) or (128, 8);

    /// <summary>Whether memory of the method is to be flat in depth.</summary>
    private static bool IsMemoryFree(string method) => !BenchMethod.Peers.Contains(method) && Reconstruction.Parse(method).IsMemoryFree;

    private static IEnumerable<Finding> OfRatios(BenchResults results) =>
        from goal in Ratios
        from row in results.Rows
        where row.Network == "tiny" && row.Planes == goal.Planes && row.Depth == Depth && row.Method == goal.Method
        where row.RatioToBackprop is not null
        select Limit(
            $"A step of `{row.Method}` takes at most {Text(goal.Most)} of stock backprop's ({Place(row)}, depth {Depth})",
            row.RatioToBackprop!.Value, Text, row.RatioToBackprop <= goal.Most);

    private static IEnumerable<Finding> OfGroups(BenchResults results)
    {
        foreach (var group in results.Groups.Where(group => group.Key.Precision == BenchNetwork.Float32))
        {
            var native = group.Where(row => !BenchMethod.Peers.Contains(row.Method)).ToList();
            var depths = native.Where(row => row.Depth is not null).Select(row => row.Depth!.Value).ToList();
            var several = depths.Count > 0 && depths.Min() >= LeastDepth && depths.Max() > depths.Min();
            var fits = several ? native.Where(row => row.Depth is null).ToList() : [];
            var heaviest = fits.Where(row => IsMemoryFree(row.Method)).MaxBy(row => row.BytesPerLayer);
            if (group.Key.TrainSteps == 0 && heaviest is { BytesPerLayer: { } slope } bytes)
            {
                yield return Limit(
                    $"A layer adds at most {MostBytesPerLayer:0} bytes ({Place(bytes)})", slope,
                    value => $"{value:0} bytes, the most of the memory-free methods (`{bytes.Method}`)", slope <= MostBytesPerLayer);
            }

            if (fits.Count > 0)
            {
                yield return OfGrowth("a step", fits, row => row.TimeExponent);
                yield return OfGrowth("the stage in it", fits, row => row.StageExponent);
            }

            if (native.Where(row => row.Depth == Depth).MaxBy(row => row.OverheadShare) is { OverheadShare: { } share } most)
            {
                yield return Limit(
                    $"Managed layer and binding take under {Percent(MostOverhead)} of a step ({Place(most)}, depth {Depth})", share,
                    value => $"{Percent(value)}, the most of all (`{most.Method}`)", share < MostOverhead);
            }
        }
    }

    private static Finding OfGrowth(string what, List<BenchRow> fits, Func<BenchRow, double?> exponent) => new(
        $"Time of {what} grows linearly with depth, exponent {Text(LeastExponent)} to {Text(MostExponent)} ({Place(fits[0])})",
        string.Join(", ", fits.Select(row => $"`{row.Method}` {Text(exponent(row)!.Value)}")),
        fits.All(row => exponent(row) is >= LeastExponent and <= MostExponent));

    private static Finding OfEpoch(BenchEpoch epoch) => Limit(
        $"An epoch of training spends at least {Percent(LeastEpochShare)} of its time in stage and optimizer "
            + $"({epoch.Dataset}, depth {epoch.Depth})",
        epoch.StageShare + epoch.OptimizerShare,
        value => $"{Percent(value)}; {Percent(epoch.StepShare)} in training steps, {Percent(epoch.WaitedShare)} waiting for data",
        epoch.StageShare + epoch.OptimizerShare >= LeastEpochShare);

    private static Finding Limit(string claim, double value, Func<double, string> text, bool holds) => new(claim, text(value), holds);

    private static string Place(BenchRow row) =>
        $"{row.Network}, {row.Planes} planes, batch {row.Batch}" + (row.TrainSteps > 0 ? $", after {row.TrainSteps} steps" : string.Empty);

    private static string Text(double value) => value.ToString("0.00#", CultureInfo.InvariantCulture);

    private static string Percent(double value) => (value * 100).ToString("0.0", CultureInfo.InvariantCulture) + " %";
}
