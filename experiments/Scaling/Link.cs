namespace ResNetNodes.Experiments.Scaling;

/// <summary>What lies between ranks, one on each side, and what a sum over it costs (native/transports/mpi.cpp).</summary>
/// <param name="Latency">Seconds until a small message has arrived.</param>
/// <param name="Bandwidth">Bytes a second that a rank sends while it gets as many.</param>
/// <param name="Addition">Bytes a second that a rank adds up.</param>
/// <param name="Processor">
/// Seconds that the computing loses to each byte that is sent: sums are made by a thread of their own, which needs a core too. 0 where it
/// has one to itself.
/// </param>
internal sealed record Link(double Latency, double Bandwidth, double Addition, double Processor)
{
    /// <summary>Of a sum, so many bytes travel at a time.</summary>
    public const double PartBytes = 4 << 20;

    // A rank sends one message to each other rank, one after the other. Few ranks can't show what that takes: an assumption.
    private const double MessageSeconds = 2e-6;

    /// <summary>
    /// A sum, to its end. All ranks give each rank its share of a part; it adds them up, while the next part travels; and gives the sums
    /// to all.
    /// </summary>
    /// <param name="ranks">How many there are.</param>
    /// <param name="bytes">Of the tensor.</param>
    public double SumSeconds(int ranks, double bytes)
    {
        var parts = PartsOf(bytes);
        if (ranks == 1 || parts.Count == 0)
        {
            return 0;
        }

        // When the link is free, the shares of a part have come, and the sums of the part before have been given.
        var (free, given) = (0.0, 0.0);
        var come = Send(0, 0);
        for (var i = 0; i < parts.Count; i++)
        {
            var here = come;
            if (i + 1 < parts.Count)
            {
                come = Send(i + 1, here);
            }

            given = Send(i, Math.Max(here, given) + (Sent(ranks, parts[i]) / Addition));
        }

        return given;

        double Send(int part, double from)
        {
            free = Math.Max(free, from) + Messages(ranks) + (Sent(ranks, parts[part]) / Bandwidth);
            return free + Latency;
        }
    }

    /// <summary>What the computing loses meanwhile; no more than all of the time.</summary>
    public double LostSeconds(int ranks, double bytes) =>
        Math.Min(SumSeconds(ranks, bytes), 2 * Sent(ranks, bytes) * Processor);

    /// <summary>A link by its sums: of small ones the latency, and by what a whole part takes longer the bandwidth.</summary>
    /// <param name="ranks">How many have summed up.</param>
    /// <param name="small">Seconds of a sum of a few bytes.</param>
    /// <param name="part">Seconds of a sum of <see cref="PartBytes"/>.</param>
    /// <param name="addition">Bytes a second that a rank adds up.</param>
    /// <param name="processor">Seconds that the computing loses to each byte.</param>
    public static Link Of(int ranks, double small, double part, double addition, double processor)
    {
        var sent = Sent(ranks, PartBytes);
        var sending = (part - small - (sent / addition)) / 2;
        return new(
            Math.Max(0, (small / 2) - Messages(ranks)), sending > 0 ? sent / sending : double.PositiveInfinity, addition, processor);
    }

    // Beyond the first.
    private static double Messages(int ranks) => (ranks - 2) * MessageSeconds;

    private static double Sent(int ranks, double bytes) => bytes * (ranks - 1) / ranks;

    private static List<double> PartsOf(double bytes)
    {
        var parts = new List<double>();
        for (; bytes > 0; bytes -= PartBytes)
        {
            parts.Add(Math.Min(bytes, PartBytes));
        }

        return parts;
    }
}
