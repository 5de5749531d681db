using System.Diagnostics;
using System.Numerics;
using ResNetNodes.Distributed;
using ResNetNodes.Experiments.Statistics;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Scaling;

/// <summary>Times sums alone, of several sizes: every rank does the same.</summary>
internal static class SumTimer
{
    private const int Least = 5, Most = 200;
    private const double SecondsOfSize = 0.5;

    private static readonly long[] Sizes = [8, 1 << 6, 1 << 8, 1 << 10, 1 << 14, 1 << 17, 1 << 20, (long)Link.PartBytes, 16 << 20];

    public static MeasuredSums Measure(Communicator ranks)
    {
        var added = Added(ranks);
        var times = Sizes.Select(bytes => Of(ranks, bytes)).ToList();
        // Of the largest: what its bytes take, more than its messages.
        var largest = times[^1];
        var sent = 2.0 * largest.Sums.Bytes * (ranks.Size - 1) / ranks.Size * largest.Sums.Seconds.Count;
        return new([.. times.Select(time => time.Sums)], added, largest.Processor / sent);
    }

    private static (SumTimes Sums, double Processor) Of(Communicator ranks, long bytes)
    {
        using var tensor = zeros(bytes / sizeof(float));
        // Rank 0 says for how many there is time.
        var first = ranks.Gather(Enumerable.Range(0, 2).Select(_ => Time(() => ranks.Sum(tensor))).Min())[0][0];
        var count = (int)Math.Clamp(SecondsOfSize / first, Least, Most);
        var start = Environment.CpuUsage.TotalTime;
        double[] seconds = [.. Enumerable.Range(0, count).Select(_ => Time(() => ranks.Sum(tensor)))];
        return (new(bytes, seconds), (Environment.CpuUsage.TotalTime - start).TotalSeconds);
    }

    // As the transport adds up its share of a part, one rank's terms after the other's.
    private static double Added(Communicator ranks)
    {
        const int repetitions = 20;
        var own = (int)Link.PartBytes / sizeof(float) / ranks.Size / Vector<float>.Count;
        var (sums, terms) = (new Vector<float>[own], new Vector<float>[own * ranks.Size]);
        ranks.Barrier();
        var seconds = Fit.Quantile(Enumerable.Range(0, repetitions).Select(_ => Time(() => Add(sums, terms))), 0.5);
        return (terms.Length - own) * (double)Vector<byte>.Count / seconds;
    }

    private static void Add(Vector<float>[] sums, Vector<float>[] terms)
    {
        for (var from = sums.Length; from < terms.Length; from += sums.Length)
        {
            var some = terms.AsSpan(from, sums.Length);
            for (var i = 0; i < sums.Length; i++)
            {
                sums[i] += some[i];
            }
        }
    }

    private static double Time(Action what)
    {
        var start = Stopwatch.GetTimestamp();
        what();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
