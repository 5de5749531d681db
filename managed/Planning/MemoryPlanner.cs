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
/// longer fit. Parts need native layers. docs/reconstructions.md, "A budget".
/// </remarks>
public sealed class MemoryPlanner
{
    // What a change has to gain: measured times scatter by about as much.
    private const double WorthAChange = 0.97;
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
        var key = $"{string.Join('x', input.shape)} {input.dtype} {input.device}";
        if (current is { } last && parts.Length == last.Used.Length)
        {
            for (var i = 0; i < parts.Length; i++)
            {
                parts[i].Measure(last.Used[i]);
            }
        }

        var known = decisions.GetValueOrDefault(key);
        if (known is null || ++known.Steps >= known.NextLook)
        {
            known = decisions[key] = Decide(input, known);
        }

        current = known;
        for (var i = 0; i < parts.Length; i++)
        {
            parts[i].Use(known.Methods[i]);
        }

        return known.Plan;
    }

    private Decision Decide(Tensor input, Decision? before)
    {
        var costs = Costs(input);
        var paces = parts.Select(part => part.Pace).OfType<double>().ToList();
        var pace = paces.Count > 0 ? paces.Average() : 1;
        IReadOnlyList<IReadOnlyList<PartCost>> told =
            [.. parts.Select((part, i) => (IReadOnlyList<PartCost>)[.. part.Methods.Select((method, m) => part.Cost(method, costs[i][m], pace))])];
        var chosen = PlanSearch.Fastest(told, Budget) ?? throw TooSmall(input, told);
        PartCost[] Of(int[] methods) => [.. methods.Select((method, i) => told[i][method])];
        var steps = before?.Steps ?? 0;
        if (before is not null)
        {
            var old = before.Methods.Select((method, i) => ((List<PartMethod>)[.. parts[i].Methods]).IndexOf(method)).ToArray();
            var gain = Of(chosen).Sum(cost => cost.Seconds) / Of(old).Sum(cost => cost.Seconds);
            chosen = gain < WorthAChange || PlanSearch.Peak(Of(old)).Bytes > Budget ? chosen : old;
        }

        var most = PlanSearch.Peak(Of(PlanSearch.Fastest(told, long.MaxValue / 2)!)).Bytes;
        var methods = chosen.Select((method, i) => parts[i].Methods[method]).ToArray();
        var used = chosen.Select((method, i) => costs[i][method]).ToArray();
        var plan = new MemoryPlan(Budget, PlanSearch.Peak(Of(chosen)).Bytes, PlanSearch.Least(told), most,
        [
            .. methods.Select((method, i) => new PartPlan(
                parts[i].Name, method.Name, told[i][chosen[i]].KeptBytes, told[i][chosen[i]].BackwardBytes, used[i].Evaluations,
                paces.Count > 0 ? told[i][chosen[i]].Seconds : null)),
        ]);
        return new(plan, methods, used) { Steps = steps, NextLook = Math.Max(2, 2 * steps) };
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
            var x = zeros(1, input.dtype, input.device).expand(shape);
            try
            {
                all[i] = parts[i].Costs(x);
            }
            catch (ResNetNodesException exception) when (!exception.Message.Contains(parts[i].Name, StringComparison.Ordinal))
            {
                throw new ResNetNodesException($"{parts[i].Name}: {exception.Message}", exception);
            }

            shape = [.. all[i][0].OutputSizes];
        }

        return all;
    }

    private ResNetNodesException TooSmall(Tensor input, IReadOnlyList<IReadOnlyList<PartCost>> told)
    {
        var least = PlanSearch.Least(told);
        var chosen = PlanSearch.Fastest(told, least)!;
        var (_, part) = PlanSearch.Peak([.. chosen.Select((method, i) => told[i][method])]);
        return new(
            $"a memory budget of {MiB(Budget)} is too small for an input of {string.Join('×', input.shape)}: the least is {MiB(least)}, which "
            + $"{parts[part].Name} needs; give at least that, or take smaller batches");
    }

    // Rounded up, so that what is named suffices.
    private static string MiB(long bytes) => (Math.Ceiling(bytes / (double)(1 << 20) * 10) / 10).ToString("0.0", CultureInfo.InvariantCulture) + " MiB";

    private sealed record Decision(MemoryPlan Plan, PartMethod[] Methods, StepCost[] Used)
    {
        public int Steps { get; set; }

        public int NextLook { get; init; }
    }
}
