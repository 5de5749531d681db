using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What a folder of the benchmark holds: everything that tables, figures and the page are made from.</summary>
/// <param name="Machine">What it was measured on.</param>
/// <param name="Peak">The best matrix product.</param>
/// <param name="Rows">All points in order, each group followed by its fits.</param>
/// <param name="Epochs">Epochs of training.</param>
internal sealed record BenchResults(BenchMachine Machine, BenchPeak Peak, IReadOnlyList<BenchRow> Rows, IReadOnlyList<BenchEpoch> Epochs)
{
    /// <summary>Rows by network, width and training.</summary>
    public IEnumerable<IGrouping<(string Network, int Planes, int TrainSteps), BenchRow>> Groups =>
        Rows.GroupBy(row => (row.Network, row.Planes, row.TrainSteps));
}

/// <summary>
/// The measured parts of a benchmark in its folder, each measured once, whatever number of starts it takes.
/// </summary>
internal sealed class BenchStore(RunFolder folder, CancellationToken cancellation)
{
    private const string PeakKey = "peak", StepPrefix = "step-", EpochPrefix = "epoch-";
    private bool noted;

    public BenchPeak Peak() => Measured(PeakKey, () => BenchPeak.Measure(cancellation));

    public List<BenchRow> Steps(BenchNetwork network, int trainSteps, Func<List<BenchRow>> measure) =>
        Measured($"{StepPrefix}{network.Name}-{network.Planes}-{network.Depth}-{trainSteps}", measure);

    public Dictionary<string, double> Gradients(BenchNetwork network, int trainSteps, Func<Dictionary<string, double>> measure) =>
        Measured(GradientKey(network.Name, network.Planes, network.Depth, trainSteps), measure);

    public BenchMemory Memory(BenchNetwork network, string method, Func<BenchMemory> measure) =>
        Measured(MemoryKey(network.Name, network.Planes, network.Depth, method), measure);

    public BenchEpoch Epoch(string dataset, int depth, Func<BenchEpoch> measure) => Measured($"{EpochPrefix}{dataset}-{depth}", measure);

    /// <summary>A row of rounds, with what was measured apart from them.</summary>
    public BenchRow Complete(BenchRow row)
    {
        var memory = folder.Made<BenchMemory>(MemoryKey(row.Network, row.Planes, row.Depth, row.Method));
        var errors = folder.Made<Dictionary<string, double>>(GradientKey(row.Network, row.Planes, row.Depth, row.TrainSteps));
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
        var groups = folder.Keys(StepPrefix).SelectMany(key => folder.Made<List<BenchRow>>(key)!).Select(Complete)
            .GroupBy(row => (row.Network, row.Planes, row.TrainSteps))
            .OrderBy(g => BenchNetwork.Names.ToList().IndexOf(g.Key.Network)).ThenBy(g => g.Key.Planes).ThenBy(g => g.Key.TrainSteps)
            .Select(g => g.OrderBy(row => row.Depth).ToList());
        return new(
            BenchMachine.Read(folder), folder.Made<BenchPeak>(PeakKey)!, [.. groups.SelectMany(g => g.Concat(BenchRow.Series(g)))],
            [
                .. folder.Keys(EpochPrefix).Select(key => folder.Made<BenchEpoch>(key)!)
                    .OrderBy(e => e.Dataset, StringComparer.Ordinal).ThenBy(e => e.Depth),
            ]);
    }

    private static string MemoryKey(string network, int planes, int? depth, string method) =>
        $"memory-{network}-{planes}-{depth}-{method}";

    private static string GradientKey(string network, int planes, int? depth, int trainSteps) =>
        $"gradients-{network}-{planes}-{depth}-{trainSteps}";

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
