using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What a folder of the benchmark holds: everything that tables, figures and the page are made from.</summary>
/// <param name="Machine">What it was measured on.</param>
/// <param name="Peak">The best matrix product.</param>
/// <param name="Rows">All points in order, each group followed by its fits.</param>
/// <param name="Epochs">Epochs of training.</param>
internal sealed record BenchResults(BenchMachine Machine, BenchPeak Peak, IReadOnlyList<BenchRow> Rows, IReadOnlyList<BenchEpoch> Epochs)
{
    /// <summary>Rows by the line that they lie on.</summary>
    public IEnumerable<IGrouping<BenchSeries, BenchRow>> Groups => Rows.GroupBy(row => row.Series);
}

/// <summary>
/// The measured parts of a benchmark in its folder, each measured once, whatever number of starts it takes.
/// </summary>
internal sealed class BenchStore(RunFolder folder, CancellationToken cancellation)
{
    private const string PeakKey = "peak", StepPrefix = "step-", GradientPrefix = "gradients-", EpochPrefix = "epoch-";
    private bool noted;

    public BenchPeak Peak() => Measured(PeakKey, () => BenchPeak.Measure(cancellation));

    public List<BenchRow> Steps(BenchNetwork network, int trainSteps, Func<List<BenchRow>> measure) =>
        Measured(StepPrefix + PointKey(network.Key, trainSteps), measure);

    public Dictionary<string, double> Gradients(BenchNetwork network, int trainSteps, Func<Dictionary<string, double>> measure) =>
        Measured(GradientPrefix + PointKey(network.Key, trainSteps), measure);

    public BenchMemory Memory(BenchNetwork network, string method, Func<BenchMemory> measure) =>
        Measured(MemoryKey(network.Key, method), measure);

    public BenchEpoch Epoch(string dataset, int depth, Func<BenchEpoch> measure) => Measured($"{EpochPrefix}{dataset}-{depth}", measure);

    /// <summary>A row of rounds, with what was measured apart from them.</summary>
    /// <param name="key">That of its network.</param>
    /// <param name="row">The row.</param>
    public BenchRow Complete(string key, BenchRow row)
    {
        var memory = folder.Made<BenchMemory>(MemoryKey(key, row.Method));
        var errors = folder.Made<Dictionary<string, double>>(GradientPrefix + PointKey(key, row.TrainSteps));
        return row with
        {
            PeakBytes = memory?.PeakBytes,
            StepBytes = memory?.StepBytes,
            GradientError = errors is not null && errors.TryGetValue(row.Method, out var error) ? error : null,
        };
    }

    /// <summary>Everything that was measured, by this and by earlier starts.</summary>
    public BenchResults Read()
    {
        var groups = folder.Keys(StepPrefix)
            .SelectMany(key => folder.Made<List<BenchRow>>(key)!.Select(row => Complete(NetworkKey(key, row.TrainSteps), row)))
            .GroupBy(row => row.Series)
            .OrderBy(g => BenchNetwork.Names.ToList().IndexOf(g.Key.Network)).ThenBy(g => g.Key.Planes).ThenBy(g => g.Key.Image)
            .ThenBy(g => g.Key.Batch).ThenByDescending(g => g.Key.Precision, StringComparer.Ordinal).ThenBy(g => g.Key.TrainSteps)
            .Select(g => g.OrderBy(row => row.Depth).ThenBy(row => row.ForwardGflop).ToList());
        return new(
            BenchMachine.Read(folder), folder.Made<BenchPeak>(PeakKey)!, [.. groups.SelectMany(g => g.Concat(BenchRow.Fits(g)))],
            [
                .. folder.Keys(EpochPrefix).Select(key => folder.Made<BenchEpoch>(key)!)
                    .OrderBy(e => e.Dataset, StringComparer.Ordinal).ThenBy(e => e.Depth),
            ]);
    }

    private static string MemoryKey(string network, string method) => $"memory-{network}-{method}";

    private static string PointKey(string network, int trainSteps) => $"{network}-trained{trainSteps}";

    // The way back from the key of a point's steps.
    private static string NetworkKey(string key, int trainSteps) => key[StepPrefix.Length..^PointKey(string.Empty, trainSteps).Length];

    // Where it is measured on is noted before, once a start; a start that only reads leaves the note as it is.
    private T Measured<T>(string key, Func<T> measure)
        where T : class => folder.Point(key, () =>
    {
        cancellation.ThrowIfCancellationRequested();
        if (!noted)
        {
            BenchMachine.Note(folder);
            noted = true;
        }

        return measure();
    });
}
