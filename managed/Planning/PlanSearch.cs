namespace ResNetNodes.Planning;

/// <summary>What one part of a network takes with one method.</summary>
/// <param name="KeptBytes">What its forward pass leaves for its backward pass, its output included.</param>
/// <param name="ForwardBytes">What its forward pass works with at most.</param>
/// <param name="BackwardBytes">What its backward pass works with at most, beyond what all parts up to it have left.</param>
/// <param name="Seconds">Of both passes, or what stands for them.</param>
internal readonly record struct PartCost(long KeptBytes, long ForwardBytes, long BackwardBytes, double Seconds);

/// <summary>
/// Chooses a method for each of several parts that run one after the other. Bytes add up as in a training step: at any moment those that
/// the parts so far have left, and what one part works with.
/// </summary>
internal static class PlanSearch
{
    // Plans that are followed at a time: more than parts of a network have, in practice. Beyond it, of plans that leave nearly
    // the same bytes the fastest goes on.
    private const int MostPlans = 4096;

    /// <summary>The fastest choice that takes no more than the budget at any moment; null where there is none.</summary>
    /// <param name="parts">The costs of each part's methods, in the order in which the parts run.</param>
    /// <param name="held">Bytes that are held from the first part's forward pass to its backward pass: its input.</param>
    /// <param name="budget">Bytes.</param>
    /// <returns>Of each part the number of its method.</returns>
    public static int[]? Fastest(IReadOnlyList<IReadOnlyList<PartCost>> parts, long held, long budget)
    {
        List<Partial> front = [new(held, 0, -1, null)];
        foreach (var methods in parts)
        {
            var longer = new List<Partial>();
            foreach (var plan in front)
            {
                for (var m = 0; m < methods.Count; m++)
                {
                    if (Fits(plan.KeptBytes, methods[m], budget))
                    {
                        longer.Add(new(plan.KeptBytes + methods[m].KeptBytes, plan.Seconds + methods[m].Seconds, m, plan));
                    }
                }
            }

            front = Front(longer, budget);
        }

        if (front.Count == 0)
        {
            return null;
        }

        var chosen = new int[parts.Count];
        var last = front[^1];
        for (var i = parts.Count; i-- > 0; last = last.Before!)
        {
            chosen[i] = last.Method;
        }

        return chosen;
    }

    /// <summary>The smallest budget that any choice keeps.</summary>
    public static long Least(IReadOnlyList<IReadOnlyList<PartCost>> parts, long held)
    {
        var (below, above) = (0L, 1L);
        while (!CanKeep(parts, held, above))
        {
            (below, above) = (above, 2 * above);
        }

        while (above - below > 1)
        {
            var middle = below + ((above - below) / 2);
            (below, above) = CanKeep(parts, held, middle) ? (below, middle) : (middle, above);
        }

        return above;
    }

    /// <summary>The largest sum of bytes of a choice, and the part in which it is reached.</summary>
    public static (long Bytes, int Part) Peak(IReadOnlyList<PartCost> chosen, long held)
    {
        var (kept, most, part) = (held, 0L, 0);
        for (var i = 0; i < chosen.Count; i++)
        {
            var here = kept + Math.Max(chosen[i].ForwardBytes, chosen[i].KeptBytes + chosen[i].BackwardBytes);
            (most, part) = here > most ? (here, i) : (most, part);
            kept += chosen[i].KeptBytes;
        }

        return (most, part);
    }

    private static bool Fits(long kept, PartCost method, long budget) =>
        kept + Math.Max(method.ForwardBytes, method.KeptBytes + method.BackwardBytes) <= budget;

    // Whoever leaves least leaves most room for what follows.
    private static bool CanKeep(IReadOnlyList<IReadOnlyList<PartCost>> parts, long held, long budget)
    {
        var kept = held;
        foreach (var methods in parts)
        {
            long? least = null;
            foreach (var method in methods)
            {
                if (Fits(kept, method, budget) && !(method.KeptBytes >= least))
                {
                    least = method.KeptBytes;
                }
            }

            if (least is not { } bytes)
            {
                return false;
            }

            kept += bytes;
        }

        return true;
    }

    // Those that no other one beats, from few bytes and many seconds to many and few.
    private static List<Partial> Front(List<Partial> plans, long budget)
    {
        plans.Sort((a, b) => (a.KeptBytes, a.Seconds).CompareTo((b.KeptBytes, b.Seconds)));
        var front = new List<Partial>();
        foreach (var plan in plans)
        {
            if (front.Count == 0 || plan.Seconds < front[^1].Seconds)
            {
                front.Add(plan);
            }
        }

        return front.Count <= MostPlans
            ? front
            : [.. front.GroupBy(plan => plan.KeptBytes * MostPlans / budget)
                .SelectMany(group => new[] { group.First(), group.Last() }.Distinct())];
    }

    private sealed record Partial(long KeptBytes, double Seconds, int Method, Partial? Before);
}
