using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Scaling;

/// <summary>What the model says of steps: of those that were measured, and of more ranks over other links.</summary>
internal sealed class ScalingForecast
{
    /// <summary>The most ranks that are foreseen.</summary>
    public const int MostRanks = 1024;

    /// <summary>The ranks of networks of other depths.</summary>
    public const int RanksOfDepths = 64;

    private const string ThisLink = "as here";

    // Sums of so few bytes take as long as their messages.
    private const int SmallBytes = 1 << 10;

    private static readonly double[] Depths = [0.25, 0.5, 1, 2, 4, 8, 16];

    private static readonly (string Name, int Images, double Bytes)[] Changes =
        [("none", 1, 1), ("gradients of half the bytes", 1, 0.5), ("twice the images a rank", 2, 1)];

    private readonly ScalingMeasurement run;
    private readonly StepModel here;

    /// <param name="run">What was measured.</param>
    public ScalingForecast(ScalingMeasurement run)
    {
        this.run = run;
        (Communication, Hidden) = (SlowerThan(StepKinds.Together), SlowerThan(StepKinds.Overlapped));
        var processor = run.IsCrowded ? run.Sums.ProcessorSecondsPerByte / run.Threads : 0;
        var link = Link.Of(
            run.Ranks, SumSeconds(bytes => bytes <= SmallBytes), SumSeconds(bytes => bytes == Link.PartBytes),
            run.Sums.AddedBytesPerSecond, processor);
        Links =
        [
            (ThisLink, link),
            ("1 Gbit/s, 5 ms", Other(1, 5e-3)),
            ("1 Gbit/s, 50 µs", Other(1, 50e-6)),
            ("10 Gbit/s, 20 µs", Other(10, 20e-6)),
            ("100 Gbit/s, 5 µs", Other(100, 5e-6)),
        ];
        var together = StepSeconds(StepKinds.Together);
        var backward = Math.Min(run.Steps.BackwardSeconds, together);
        here = new(
            together - backward, backward, [.. run.Steps.Buckets.Select(b => b with { Ready = Math.Min(b.Ready, backward) })],
            run.SmallSums);

        double SumSeconds(Func<long, bool> of) =>
            Median(run.Sums.Times.Where(times => of(times.Bytes)).SelectMany(times => times.Seconds));

        Link Other(double gigabits, double latency) => link with { Latency = latency, Bandwidth = gigabits * 1e9 / 8 };
    }

    /// <summary>Links by name; the first is that of the run.</summary>
    public IReadOnlyList<(string Name, Link Link)> Links { get; }

    /// <summary>The link of the run.</summary>
    public Link Measured => Links[0].Link;

    /// <summary>The median of a number of seconds.</summary>
    public static double Median(IEnumerable<double> seconds) => Fit.Quantile(seconds, 0.5);

    /// <summary>The median time of a step that was measured.</summary>
    public double StepSeconds(string kind) => Median(Times(kind).SelectMany(round => round));

    /// <summary>By how much steps with sums after the backward pass are slower than those without sums.</summary>
    public Estimate Communication { get; }

    /// <summary>By how much they are slower than those with sums during it.</summary>
    public Estimate Hidden { get; }

    /// <summary>A step of the run by the model; null where it was measured for the model.</summary>
    public double? Predicted(string kind) => kind switch
    {
        StepKinds.After => here.Seconds(Measured, run.Ranks, overlaps: false),
        StepKinds.Overlapped => here.Seconds(Measured, run.Ranks),
        _ => null,
    };

    /// <summary>Steps of ranks with a machine each, from one to <see cref="MostRanks"/>, and of deeper networks.</summary>
    public IReadOnlyList<ScalingForecastRow> Rows()
    {
        var powers = Enumerable.Range(0, 11).Select(power => 1 << power).ToList();
        return
        [
            .. from scaling in (string[])["weak", "strong"]
               from link in Links
               from ranks in powers
               where ranks <= MostOf(scaling)
               select Row(scaling, link, ranks, Changes[0]),
            .. from link in Links from depth in Depths select OfDepth(link, depth),
        ];
    }

    /// <summary>Where more ranks stop to pay.</summary>
    public IReadOnlyList<ScalingLimitRow> Limits() =>
    [
        .. from link in Links from change in Changes select Limit("weak", link, change),
        .. from link in Links from change in Changes[..2] select Limit("strong", link, change),
    ];

    private static double Mean(double less, double more, double share) => less + (share * (more - less));

    // Round by round.
    private Estimate SlowerThan(string kind) =>
        Estimate.Of([.. Times(StepKinds.After).Zip(Times(kind), (one, other) => Median(one) - Median(other))]);

    private IReadOnlyList<IReadOnlyList<double>> Times(string kind) => run.Steps.Times.First(times => times.Kind == kind).Rounds;

    // All images of a step of the run, shared by as many ranks as there are images at most.
    private int MostOf(string scaling) => scaling == "weak" ? MostRanks : Math.Min(MostRanks, run.Ranks * run.Images);

    private ScalingLimitRow Limit(string scaling, (string, Link) link, (string, int, double) change)
    {
        var rows = Enumerable.Range(1, MostOf(scaling)).Select(ranks => Row(scaling, link, ranks, change)).ToList();
        var fastest = rows.MaxBy(row => row.Ranks * row.Efficiency)!;
        return new(
            scaling, link.Item1, change.Item1, rows.FirstOrDefault(row => row.Efficiency < 0.5)?.Ranks, fastest.Ranks,
            fastest.Ranks * fastest.Efficiency);
    }

    private ScalingForecastRow Row(string scaling, (string Name, Link Link) link, int ranks, (string, int Images, double Bytes) change)
    {
        var isWeak = scaling == "weak";
        var whole = change.Images * run.Images * (isWeak ? 1 : run.Ranks);
        var images = isWeak ? whole : (whole + ranks - 1) / ranks;
        var seconds = Step(images).Larger(change.Bytes).Seconds(link.Link, ranks);
        var alone = Step(whole).ComputeSeconds;
        return new(scaling, link.Name, ranks, images, 1, seconds, alone / seconds / (isWeak ? 1 : ranks));
    }

    // What stages take grows with their depth: of the time, and of the bytes where functions have weights of their own.
    private ScalingForecastRow OfDepth((string Name, Link Link) link, double depth)
    {
        var step = Step(run.Images).Slower(Mean(1, depth, run.Steps.StageShare)).Larger(Mean(1, depth, run.GrowingShare));
        var seconds = step.Seconds(link.Link, RanksOfDepths);
        return new("depth", link.Name, RanksOfDepths, run.Images, depth, seconds, step.ComputeSeconds / seconds);
    }

    // Of a rank that has a machine to itself. The time grows with the images from that of one image on.
    private StepModel Step(int images)
    {
        var (all, one) = (StepSeconds(StepKinds.Together), StepSeconds(StepKinds.OneImage));
        var share = run.Images > 1 ? (images - 1.0) / (run.Images - 1) : images - 1;
        var seconds = Mean(Math.Min(one, all), all, share);
        return here.Slower(StepSeconds(StepKinds.Alone) / all * seconds / all);
    }
}
