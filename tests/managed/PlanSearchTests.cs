using ResNetNodes.Planning;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>The search against all choices there are.</summary>
public sealed class PlanSearchTests
{
    private const long Held = 7;

    public static TheoryData<int> Seeds => [.. Enumerable.Range(0, 40)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Fastest_IsThatOfAllChoicesWithinTheBudget(int seed)
    {
        var parts = Parts(seed);
        var all = Choices(parts).Select(choice => (choice.Sum(c => c.Seconds), Bytes: Sum(choice))).ToList();
        var least = all.Min(plan => plan.Bytes);
        Assert.Equal(least, PlanSearch.Least(parts, Held));
        Assert.Null(PlanSearch.Fastest(parts, Held, least - 1));
        var before = double.PositiveInfinity;
        for (var budget = least; budget <= all.Max(plan => plan.Bytes) + 3; budget += 3)
        {
            var chosen = PlanSearch.Fastest(parts, Held, budget)!.Select((method, i) => parts[i][method]).ToArray();
            var seconds = chosen.Sum(c => c.Seconds);
            Assert.True(Sum(chosen) <= budget);
            Assert.Equal(Sum(chosen), PlanSearch.Peak(chosen, Held).Bytes);
            Assert.Equal(all.Where(plan => plan.Bytes <= budget).Min(plan => plan.Item1), seconds, 1e-9);
            Assert.True(seconds <= before, "more memory is never slower");
            before = seconds;
        }
    }

    [Fact]
    public void Peak_NamesThePartInWhichItIsReached()
    {
        PartCost[] chosen = [new(10, 5, 20, 1), new(10, 50, 5, 1), new(1, 1, 30, 1)];
        Assert.Equal((60, 1), PlanSearch.Peak(chosen, 0));
        Assert.Equal((64, 1), PlanSearch.Peak(chosen, 4));
    }

    [Fact]
    public void Fastest_EndsSoonWithManyParts()
    {
        var random = new RandomNumbers(3).Stream();
        IReadOnlyList<IReadOnlyList<PartCost>> parts =
            [.. Enumerable.Range(0, 40).Select(_ => (IReadOnlyList<PartCost>)[.. Enumerable.Range(0, 40).Select(i =>
                new PartCost((1000 * i) + random.Next(999), 10, 10, (40 - i) + (random.Next(999) / 1000.0)))])];
        var least = PlanSearch.Least(parts, Held);
        var chosen = PlanSearch.Fastest(parts, Held, 2 * least + 400_000);
        Assert.NotNull(chosen);
        Assert.True(PlanSearch.Peak([.. chosen.Select((method, i) => parts[i][method])], Held).Bytes <= 2 * least + 400_000);
    }

    // Of random numbers; some methods are nowhere better than others, and some parts have one alone.
    private static IReadOnlyList<IReadOnlyList<PartCost>> Parts(int seed)
    {
        var random = new RandomNumbers(seed).Stream();
        return [.. Enumerable.Range(0, 2 + random.Next(3)).Select(_ =>
            (IReadOnlyList<PartCost>)[.. Enumerable.Range(0, 1 + random.Next(5)).Select(_ =>
                new PartCost(random.Next(30), random.Next(40), random.Next(40), 1 + random.Next(20)))])];
    }

    private static IEnumerable<PartCost[]> Choices(IReadOnlyList<IReadOnlyList<PartCost>> parts) => parts.Aggregate(
        (IEnumerable<PartCost[]>)[[]],
        (choices, methods) => choices.SelectMany(choice => methods.Select(method => choice.Append(method).ToArray())));

    // A training step, moment by moment.
    private static long Sum(PartCost[] chosen)
    {
        var (kept, most) = (Held, Held);
        foreach (var part in chosen)
        {
            most = Math.Max(most, kept + part.ForwardBytes);
            kept += part.KeptBytes;
            most = Math.Max(most, kept);
        }

        foreach (var part in chosen.Reverse())
        {
            most = Math.Max(most, kept + part.BackwardBytes);
            kept -= part.KeptBytes;
        }

        return most;
    }
}
