using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Planning;

/// <summary>
/// Keeps the training steps of a network within a budget of memory, as fast as that lets them be: each part that runs stores its tapes,
/// keeps or replays its states, or reconstructs them, whichever is fastest of what fits.
/// </summary>
/// <remarks>
/// Bytes are foreseen from shapes: what a step takes beyond rest, that is beyond parameters, their gradients and the optimizer's state.
/// Times are those that steps have measured, and numbers of operations before; what <see cref="Reconstruction.Adaptive"/> has learned
/// counts too. A plan is looked at again after 2, 4, 8, … steps, and changes where the measurements promise a gain, or where it would no
/// longer fit. On an accelerator it goes by numbers of operations. Parts need native layers. docs/reconstructions.md, "A budget".
/// </remarks>
public sealed class MemoryPlanner
{
    // What a change has to gain: measured times scatter by about as much.
    private const double WorthAChange = 0.95;
    // Shapes whose plans are remembered: those of batches, and of the last one of an epoch.
    private const int MostShapes = 16;
    private readonly PlannedPart[] parts;
    private readonly Dictionary<string, Decision> decisions = [];
    private Decision? current;

    /// <summary>A planner of parts that run one after the other.</summary>
    /// <param name="parts">
    /// Names and modules, in the order in which they run: each a <see cref="ResidualStage"/>, which reconstructs as it does now where no
    /// exact method fits, or a <see cref="Recomputed"/>. Their options are the planner's from here on.
    /// </param>
    /// <param name="budget">Bytes that a training step may take beyond rest.</param>
    /// <exception cref="ArgumentException">No part, one of another kind, or a budget below 1.</exception>
    public MemoryPlanner(IEnumerable<(string Name, nn.Module<Tensor, Tensor> Module)> parts, long budget)
    {
        ArgumentNullException.ThrowIfNull(parts);
        ArgumentOutOfRangeException.ThrowIfLessThan(budget, 1);
        this.parts = [.. parts.Select(part => new PlannedPart(part.Name, part.Module))];
        Budget = budget;
        if (this.parts.Length == 0)
        {
            throw new ArgumentException("a plan needs at least one part", nameof(parts));
        }
    }

    /// <summary>Bytes that a training step may take beyond rest.</summary>
    public long Budget { get; }

    /// <summary>What was decided for the last input; null before the first.</summary>
    public MemoryPlan? Plan => current?.Plan;

    /// <summary>Decides for training steps on inputs of this shape, and sets the parts' options. To be called before each step.</summary>
    /// <param name="input">What the first part is given, or any tensor of its shape, dtype and device; its values are not read.</param>
    /// <returns>The plan: the one before, unless shapes or measurements ask for another.</returns>
    /// <exception cref="ResNetNodesException">
    /// The budget is below the least that can be kept, which the message names; a part has no native layers; or the input does not fit one.
    /// </exception>
    public MemoryPlan Prepare(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var reached = Reached(input);
        var key = $"{string.Join('x', input.shape)} {input.dtype} {input.device} {string.Join(' ', reached)}";
        // What a step on an accelerator has taken is known when it is over: nothing waits for that.
        for (var i = 0; i < parts.Length && current is not null && input.device_type == DeviceType.CPU; i++)
        {
            parts[i].Measure(current.Costs[i]);
        }

        var known = decisions.GetValueOrDefault(key);
        if (known is null || ++known.Steps >= known.NextLook)
        {
            if (known is null && decisions.Count == MostShapes)
            {
                decisions.Clear();
            }

            known = decisions[key] = Decide(input, reached, known);
        }

        current = known;
        for (var i = 0; i < parts.Length; i++)
        {
            parts[i].Use(parts[i].Methods[known.Chosen[i]]);
        }

        return known.Plan;
    }

    // Whether a gradient goes through each part: it does from the first one on that wants one.
    private bool[] Reached(Tensor input)
    {
        var any = input.requires_grad;
        return [.. parts.Select(part => any |= part.IsTrained)];
    }

    private Decision Decide(Tensor input, bool[] reached, Decision? before)
    {
        var costs = Costs(input);
        var paces = parts.Select(part => part.Pace).OfType<double>().ToList();
        var pace = paces.Count > 0 ? paces.Average() : 1;
        long OutputOf(int i) => costs[i][0].OutputSizes.Aggregate(input.element_size(), (bytes, size) => bytes * size);
        var handed = parts.Select(part => part.HandedBytes).ToArray();
        IReadOnlyList<IReadOnlyList<PartCost>> told = [.. parts.Select((part, i) => (IReadOnlyList<PartCost>)(reached[i]
            ? [.. part.Methods.Select((method, m) => part.Cost(method, costs[i][m], handed[i], pace))]
            : [PlannedPart.Evaluated(costs[i][0], OutputOf(i))]))];
        var held = input.numel() * input.element_size();
        PartCost[] Of(int[] methods) => [.. methods.Select((method, i) => told[i][method])];
        long Peak(int[] methods) => PlanSearch.Peak(Of(methods), held).Bytes;
        double Seconds(int[] methods) => Of(methods).Sum(cost => cost.Seconds);

        var chosen = PlanSearch.Fastest(told, held, Budget) ?? throw TooSmall(input, told, held);
        if (before is not null && Peak(before.Chosen) <= Budget && Seconds(chosen) > WorthAChange * Seconds(before.Chosen))
        {
            chosen = before.Chosen;
        }

        // The last method stores all: three evaluations of each function.
        var rows = chosen.Select((method, i) => new PartPlan(
            parts[i].Name, reached[i] ? parts[i].Methods[method].Name : "no gradient",
            told[i][method].KeptBytes, told[i][method].BackwardBytes,
            reached[i] ? parts[i].Evaluations(parts[i].Methods[method], costs[i][method]) : costs[i][^1].Evaluations / 3,
            paces.Count > 0 ? told[i][method].Seconds : null));
        var most = Peak(PlanSearch.Fastest(told, held, long.MaxValue)!);
        var plan = new MemoryPlan(Budget, Peak(chosen), PlanSearch.Least(told, held), most, [.. rows]);
        var steps = before?.Steps ?? 0;
        return new(plan, chosen, [.. chosen.Select((method, i) => costs[i][method])]) { Steps = steps, NextLook = Math.Max(2, 2 * steps) };
    }

    // Of each part at what the one before gives.
    private IReadOnlyList<StepCost>[] Costs(Tensor input)
    {
        using var scope = NewDisposeScope();
        var shape = input.shape;
        var all = new IReadOnlyList<StepCost>[parts.Length];
        for (var i = 0; i < parts.Length; i++)
        {
            // Of any size, and without memory of its own.
            all[i] = parts[i].Costs(zeros(1, input.dtype, input.device).expand(shape));
            shape = [.. all[i][0].OutputSizes];
        }

        return all;
    }

    private ResNetNodesException TooSmall(Tensor input, IReadOnlyList<IReadOnlyList<PartCost>> told, long held)
    {
        var least = PlanSearch.Least(told, held);
        var chosen = PlanSearch.Fastest(told, held, least)!;
        var (_, part) = PlanSearch.Peak([.. chosen.Select((method, i) => told[i][method])], held);
        return new(
            $"a memory budget of {MiB(Budget)} is too small for an input of {string.Join('×', input.shape)}: the least is {MiB(least)}, "
            + $"which {parts[part].Name} needs; give at least that, or take smaller batches");
    }

    // Rounded up, so that what is named suffices.
    private static string MiB(long bytes) =>
        (Math.Ceiling(bytes / (double)(1 << 20) * 10) / 10).ToString("0.0", CultureInfo.InvariantCulture) + " MiB";

    // Of each part the number of its method, and what that is foreseen to take.
    private sealed record Decision(MemoryPlan Plan, int[] Chosen, StepCost[] Costs)
    {
        public int Steps { get; set; }

        public int NextLook { get; init; }
    }
}
