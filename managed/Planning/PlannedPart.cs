using ResNetNodes.Stages.Engine;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Planning;

/// <summary>A way to go through a part, as people read it, and the options that ask for it.</summary>
internal sealed record PartMethod(string Name, StageOptions Options)
{
    /// <summary>What it has its pace in common with: how many steps store their tapes counts as evaluations that they save.</summary>
    public string Kind => Options.Reconstruction.Name;
}

/// <summary>
/// One part of a network as the planner sees it: the methods that it may use, what each takes, and what steps have measured.
/// </summary>
internal sealed class PlannedPart
{
    // Stored steps of a deep stage are tried so many at a time.
    private const int MostStored = 32;
    // What a slower measurement counts beside those before.
    private const double Weight = 0.25;
    private static readonly int[] Intervals = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32];
    private static readonly int[] States = [2, 3, 4, 6];

    private readonly StageEngine engine;
    private readonly bool isAlone;
    private readonly bool addsInPlace;
    private readonly nn.Module<Tensor, Tensor> module;
    // Seconds for one operation by the kind of method, of those that were used twice; and how often they were.
    private readonly Dictionary<string, (int Uses, double Pace)> used = [];
    // Evaluations of the backward pass as they were reported, where states are found, to those that were foreseen.
    private double dearer = 1;
    private StageReport? seen;

    public PlannedPart(string name, nn.Module<Tensor, Tensor> module)
    {
        (engine, isAlone) = module switch
        {
            ResidualStage stage => (stage.Engine, false),
            Recomputed part => (part.Engine, true),
            _ => throw new ArgumentException($"{name} is a {module.GetName()}, expected a ResidualStage, or a Recomputed around it"),
        };
        if (engine.Options.CudaGraphs)
        {
            throw new ArgumentException(
                $"{name} has CudaGraphs, whose memory stays allocated between steps; leave them off within a budget");
        }

        Name = name;
        Methods = isAlone ? Alone(engine.Options) : OfSteps(engine.Options, engine.Options.Solver.StepCount(engine.Depth));
        addsInPlace = engine.Options.AccumulateGradientsInPlace;
        this.module = module;
    }

    public string Name { get; }

    public IReadOnlyList<PartMethod> Methods { get; }

    /// <summary>Whether any of its parameters wants a gradient.</summary>
    public bool IsTrained => Trained.Any();

    /// <summary>Bytes of the gradients that are handed to autograd and stand beside those that they are added to.</summary>
    public long HandedBytes => addsInPlace ? 0 : Trained.Sum(parameter => parameter.numel() * parameter.element_size());

    private IEnumerable<Parameter> Trained => module.parameters().Where(parameter => parameter.requires_grad);

    /// <summary>What it goes through now; null where its options are none of a method.</summary>
    public PartMethod? Current { get; private set; }

    /// <summary>What each method takes at an input like x.</summary>
    /// <exception cref="ResNetNodesException">
    /// Its functions are called, so that nothing is known of them, or x does not fit them.
    /// </exception>
    public IReadOnlyList<StepCost> Costs(Tensor x)
    {
        try
        {
            if (engine.Costs(x, [.. Methods.Select(method => method.Options)]) is { } costs)
            {
                return costs;
            }
        }
        catch (ResNetNodesException exception)
        {
            throw new ResNetNodesException($"{Name}: {exception.Message}", exception);
        }

        throw new ResNetNodesException(
            $"a memory budget needs native layers, and {Name} is called: {engine.ExecutionReason}; leave the budget out");
    }

    /// <summary>Evaluations in a training step: those foreseen, by what steps have reported where states are found.</summary>
    public double Evaluations(PartMethod method, StepCost cost) =>
        cost.Evaluations + (method.Options.Reconstruction.IsMemoryFree ? (dearer - 1) * cost.BackwardEvaluations : 0);

    /// <summary>What the search is told of a method: bytes with what autograd holds, and seconds.</summary>
    /// <param name="method">One of <see cref="Methods"/>.</param>
    /// <param name="cost">What the engine says of it.</param>
    /// <param name="handed"><see cref="HandedBytes"/>, which are those of all methods.</param>
    /// <param name="pace">Seconds for one operation, where this part has measured nothing.</param>
    public PartCost Cost(PartMethod method, StepCost cost, long handed, double pace) => new(
        cost.KeptBytes,
        cost.ForwardBytes,
        cost.BackwardBytes + handed,
        Evaluations(method, cost) * cost.Operations
            * (used.TryGetValue(method.Kind, out var measured) && measured.Uses > 1 ? measured.Pace : Pace ?? pace));

    /// <summary>The same of one that nothing of a backward pass reaches: it is evaluated alone, by whatever method.</summary>
    /// <param name="cost">What the engine says of the method that stores least.</param>
    /// <param name="output">Bytes of its output.</param>
    public static PartCost Evaluated(StepCost cost, long output) => new(output, cost.ForwardBytes, 0, 0);

    /// <summary>Seconds for one operation, by what was measured last; null before anything was.</summary>
    public double? Pace { get; private set; }

    /// <summary>Takes in what the last step has reported, once.</summary>
    /// <param name="cost">What its method was foreseen to take.</param>
    public void Measure(StepCost cost)
    {
        if (Current is not { } method || engine.LastReport is not { } report || ReferenceEquals(report, seen))
        {
            return;
        }

        seen = report;
        if (method.Options.Reconstruction.IsMemoryFree && cost.BackwardEvaluations > 0)
        {
            dearer = report.Evaluations / cost.BackwardEvaluations;
        }

        var now = (report.ForwardSeconds + report.BackwardSeconds) / (Evaluations(method, cost) * cost.Operations);
        var (uses, pace) = used.GetValueOrDefault(method.Kind);
        // The first step with a method sets up what later ones use again. Whatever disturbs a step makes it slower.
        pace = uses < 2 ? now : Math.Min(now, pace + (Weight * (now - pace)));
        used[method.Kind] = (uses + 1, pace);
        if (uses > 0)
        {
            Pace = pace;
        }
    }

    /// <summary>Goes through the next steps with a method.</summary>
    public void Use(PartMethod method)
    {
        if (ReferenceEquals(method, Current))
        {
            return;
        }

        Current = method;
        engine.UsePlanned(method.Options);
    }

    private static IReadOnlyList<PartMethod> Alone(StageOptions options) =>
    [
        new("recomputed", options with { Reconstruction = Reconstruction.Checkpoint() }),
        new("stored", options with { Reconstruction = Reconstruction.Backprop }),
    ];

    // What the stage was built with, with other numbers of states too where it keeps some; checkpoints; each with the last steps
    // stored; and all.
    private static IReadOnlyList<PartMethod> OfSteps(StageOptions options, int steps)
    {
        var plain = options with { StoredSteps = 0 };
        var bases = new List<PartMethod>();
        if (options.Reconstruction.IsMemoryFree)
        {
            bases.Add(new($"{options.Reconstruction}", plain));
        }

        if (options.Reconstruction.Name == Reconstruction.Adaptive().Name && options.MostStates is null)
        {
            bases.AddRange(States.Where(most => most <= steps)
                .Select(most => new PartMethod($"{options.Reconstruction}, {most} states", plain with { MostStates = most })));
        }

        bases.AddRange(Intervals.Where(every => every <= steps)
            .Select(every => Reconstruction.Checkpoint(every))
            .Select(method => new PartMethod($"{method}", plain with { Reconstruction = method, MostStates = null })));
        var stored = Enumerable.Range(0, Math.Min(steps, MostStored)).Select(i => (int)((long)i * steps / Math.Min(steps, MostStored)));
        return
        [
            .. bases.SelectMany(method => stored.Select(count => count == 0
                ? method
                : new PartMethod($"{method.Name} + {count} stored", method.Options with { StoredSteps = count }))),
            new($"{Reconstruction.Backprop}", plain with { Reconstruction = Reconstruction.Backprop, MostStates = null }),
        ];
    }
}
