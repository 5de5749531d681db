using ResNetNodes.Experiments.Scaling;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The model of a step of several ranks: closed forms, and a simulation of single ticks.</summary>
public sealed class StepModelTests
{
    private const int Part = (int)Link.PartBytes;

    private static readonly Link Free = new(0, double.PositiveInfinity, double.PositiveInfinity, 0);

    /// <summary>All-to-all, the addition, and all to all again, each of (K − 1)/K of the bytes.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Sum_OfOnePart_IsTwoExchangesAndAnAddition(int ranks)
    {
        var link = new Link(0.25, 1000, 500, 0);
        var sent = 600.0 * (ranks - 1) / ranks;
        Assert.Equal((2 * (0.25 + (sent / 1000))) + (sent / 500), link.SumSeconds(ranks, 600), 4);
        Assert.Equal((0, 0), (link.SumSeconds(1, 600), link.SumSeconds(ranks, 0)));
    }

    /// <summary>Messages go to each rank: that grows with their number, and bytes do no more.</summary>
    [Fact]
    public void Sum_OfManyRanks_WaitsForMessages()
    {
        var link = new Link(0, 1e9, double.PositiveInfinity, 0);
        Assert.Equal(2 * 2e-6 * 1022, link.SumSeconds(1024, 1e-9), 12);
        Assert.InRange(link.SumSeconds(1024, 1e6), 2e-3, (2 * 2e-6 * 1022) + 2e-3);
    }

    /// <summary>A sum of a few parts against single ticks; every number is a whole number of them.</summary>
    [Fact]
    public void Sum_OfParts_EqualsTicks()
    {
        var random = new Random(1);
        for (var trial = 0; trial < 300; trial++)
        {
            var (latency, send, add, parts) = (random.Next(8), random.Next(1, 9), random.Next(6), random.Next(1, 7));
            // Of two ranks a part sends half of its bytes.
            var link = new Link(latency, Part / 2.0 / send, add == 0 ? double.PositiveInfinity : Part / 2.0 / add, 0);
            Assert.Equal(Ticks(latency, send, add, parts), link.SumSeconds(2, (double)parts * Part), 6);
        }
    }

    [Fact]
    public void Step_WithoutCost_IsItsComputing()
    {
        var step = new StepModel(3, 5, [new(1, 100), new(5, 100)], [8]);
        Assert.Equal(8, step.Seconds(Free, 2));
        Assert.Equal(8, step.Seconds(new Link(1, 1, 1, 1), 1));
        Assert.Equal(8, step.ComputeSeconds);
    }

    /// <summary>One bucket of which each exchange takes S seconds, ready at r: rest + max(backward, r + 2 S), or all in a row.</summary>
    [Theory]
    [InlineData(0, 1)]
    [InlineData(0, 4)]
    [InlineData(2, 1)]
    [InlineData(5, 1)]
    public void Step_OfOneBucket_IsTheLongerOfTwo(double ready, double exchange)
    {
        var link = new Link(0, 50 / exchange, double.PositiveInfinity, 0);
        var step = new StepModel(3, 5, [new(ready, 100)], []);
        Assert.Equal(3 + Math.Max(5, ready + (2 * exchange)), step.Seconds(link, 2), 9);
        Assert.Equal(3 + 5 + (2 * exchange), step.Seconds(link, 2, overlaps: false), 9);
    }

    /// <summary>Where a sum needs all of the core that computes, nothing is hidden.</summary>
    [Fact]
    public void Step_WhoseSumsComputeToo_HidesNothing()
    {
        var step = new StepModel(3, 5, [new(1, 100), new(2, 100)], []);
        var link = new Link(0, 100, double.PositiveInfinity, 1);
        Assert.Equal(10, step.Seconds(link, 2), 9);
        Assert.Equal(10, step.Seconds(link, 2, overlaps: false), 9);
        Assert.Equal(9, step.Seconds(link with { Processor = 0.005 }, 2), 9);
    }

    /// <summary>Random steps against single ticks: a sum at a time, in order, each from when it is ready.</summary>
    [Fact]
    public void Step_EqualsTicks()
    {
        var random = new Random(2);
        for (var trial = 0; trial < 500; trial++)
        {
            var backward = random.Next(1, 40);
            var count = random.Next(1, 8);
            List<(int Ready, int Seconds)> buckets =
                [.. Enumerable.Range(0, count).Select(_ => (random.Next(backward + 1), random.Next(1, 12))).OrderBy(b => b.Item1)];
            List<int> small = [.. Enumerable.Range(0, random.Next(3)).Select(_ => random.Next(1, 4))];
            // Two exchanges of half of the bytes: a byte a second.
            var link = new Link(0, 1, double.PositiveInfinity, 0);
            var step = new StepModel(
                7, backward, [.. buckets.Select(b => new ReadySum(b.Ready, b.Seconds))], [.. small.Select(s => (double)s)]);
            Assert.Equal(7 + Ticks(backward, buckets, small), step.Seconds(link, 2), 9);
            Assert.Equal(7 + backward + buckets.Sum(b => b.Seconds) + small.Sum(), step.Seconds(link, 2, overlaps: false), 9);
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Link_IsFoundFromItsSums(int ranks)
    {
        var link = new Link(5e-5, 1.25e8, 3e9, 0);
        var found = Link.Of(ranks, link.SumSeconds(ranks, 1e-3), link.SumSeconds(ranks, Part), link.Addition, 0);
        Assert.Equal(link.Latency, found.Latency, 9);
        Assert.Equal(1, found.Bandwidth / link.Bandwidth, 6);
    }

    // One transfer on the link at a time, in the order in which they are asked for; the rank asks as the transport does.
    private static int Ticks(int latency, int send, int add, int parts)
    {
        var asked = new Queue<(bool IsGather, int Part)>([(false, 0)]);
        var (come, given) = (new int?[parts], new int?[parts]);
        (bool IsGather, int Part)? under = null;
        var (left, part, adding, hasAsked) = (0, 0, -1, false);
        for (var tick = 0; ; tick++)
        {
            for (var isMoving = true; isMoving;)
            {
                isMoving = false;
                if (under is { } done && left == 0)
                {
                    (done.IsGather ? given : come)[done.Part] = tick + latency;
                    (under, isMoving) = (null, true);
                }

                if (part < parts && come[part] <= tick && !hasAsked)
                {
                    if (part + 1 < parts)
                    {
                        asked.Enqueue((false, part + 1));
                    }

                    (hasAsked, isMoving) = (true, true);
                }

                if (hasAsked && adding < 0 && (part == 0 || given[part - 1] <= tick))
                {
                    (adding, isMoving) = (add, true);
                }

                if (adding == 0)
                {
                    asked.Enqueue((true, part++));
                    (adding, hasAsked, isMoving) = (-1, false, true);
                }

                if (under is null && asked.TryDequeue(out var next))
                {
                    (under, left, isMoving) = (next, send, true);
                }
            }

            if (given[^1] <= tick)
            {
                return tick;
            }

            (left, adding) = (left - 1, adding > 0 ? adding - 1 : adding);
        }
    }

    private static int Ticks(int backward, List<(int Ready, int Seconds)> buckets, List<int> small)
    {
        var waiting = new Queue<(int Ready, int Seconds)>(buckets.Concat(small.Select(seconds => (backward, seconds))));
        var left = 0;
        for (var tick = 0; ; tick++)
        {
            if (left == 0 && waiting.TryPeek(out var next) && next.Ready <= tick)
            {
                left = waiting.Dequeue().Seconds;
            }

            if (tick >= backward && left == 0 && waiting.Count == 0)
            {
                return tick;
            }

            left = Math.Max(0, left - 1);
        }
    }
}
