using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>
/// Functions and options as one native stage: layers that the engine knows, or callbacks, and why. Immutable; other options make
/// another one.
/// </summary>
internal sealed class StageConfiguration : IDisposable
{
    private readonly StageFunctions functions;
    private readonly LayerMapping? mapping;
    private readonly Stage native;
    private readonly IReadOnlyList<long> uses;
    private int holders = 1;
    private int disposed;

    private StageConfiguration(
        StageFunctions functions, StageOptions options, LayerMapping? mapping, Stage native, IReadOnlyList<long> uses, string reason) =>
        (this.functions, Options, this.mapping, this.native, this.uses, Reason) = (functions, options, mapping, native, uses, reason);

    public StageOptions Options { get; }

    /// <summary>What the functions belong to, as messages name it.</summary>
    public string Owner => functions.Owner;

    public StageExecution Execution => mapping is null ? StageExecution.Callback : StageExecution.Layers;

    /// <summary>Why the functions are evaluated that way.</summary>
    public string Reason { get; }

    /// <summary>Checks options, and chooses how the functions are evaluated.</summary>
    /// <exception cref="ArgumentException">An invalid option.</exception>
    public static StageConfiguration Of(StageFunctions functions, StageOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        var uses = options.Solver.UseCounts(functions.Depth);
        var reason = options.Execution == StageExecution.Callback
            ? "the modules are to be called (StageExecution.Callback)"
            : functions.Unmappable;
        var mapping = reason.Length == 0 ? LayerMapping.TryMap(functions.Modules, out reason) : null;
        if (mapping is not null)
        {
            return new(functions, options, mapping, Native(mapping, functions, options), uses, "all layers are known");
        }

        reason = Told(functions, reason);

        if (options.Execution == StageExecution.Layers)
        {
            throw new ArgumentException($"{functions.Whole} can't run as native layers: {reason}");
        }

        if (options.CudaGraphs || options.ComputeType == ComputeType.BFloat16)
        {
            throw new ArgumentException(options.CudaGraphs
                ? $"CudaGraphs needs native layers: {reason}; leave it off"
                : $"ComputeType.BFloat16 needs native layers: {reason}; cast inside the modules instead");
        }

        return new(
            functions, options, null, Native(null, functions, options), uses,
            options.Execution == StageExecution.Callback ? "asked for" : reason);
    }

    /// <summary>
    /// This one, where it still is what its modules and options ask for; another one where modules have changed: hooks, settings, the
    /// list of a Sequential's parts. Cheap: asked before each call.
    /// </summary>
    /// <exception cref="ResNetNodesException">The options ask for native layers, which the modules can't be any more.</exception>
    public StageConfiguration Current()
    {
        var fits = mapping is not null ? mapping.IsOf(functions.Modules)
            : Options.Execution == StageExecution.Callback || functions.Unmappable.Length > 0
                || Reason == Told(functions, LayerMapping.Obstacle(functions.Modules));
        try
        {
            return fits ? this : Of(functions, Options);
        }
        catch (ArgumentException exception)
        {
            throw new ResNetNodesException(exception.Message, exception);
        }
    }

    /// <summary>Takes down what a call of the stage is made with. Its caller's hold on this is the snapshot's from here on.</summary>
    /// <param name="x">The state.</param>
    /// <param name="extras">The extra inputs.</param>
    /// <param name="training">Whether the stage is in training mode.</param>
    public CallSnapshot Snapshot(Tensor x, IReadOnlyList<Tensor> extras, bool training)
    {
        try
        {
            IReadOnlyList<Tensor> parameters = mapping is not null
                ? mapping.Parameters()
                : [.. functions.Modules.SelectMany(m => m.parameters()).DistinctBy(TensorIdentity.Of)];
            int[] wanted = [.. parameters.Select(p => p.requires_grad ? 1 : 0)];
            // A state's gradient is on the way to those of the parameters, whoever wants it.
            var inputWanted = functions.IsResidual || x.requires_grad;
            var recorded = is_grad_enabled() && (x.requires_grad || wanted.Contains(1) || extras.Any(e => e.requires_grad));
            if (mapping is not null)
            {
                return new(this, native, null, parameters, wanted, mapping.Buffers(), mapping.Modes(), extras, inputWanted, recorded);
            }

            var callback = new ModuleCallback(functions, extras, training, recorded, inputWanted);
            return new(this, native, callback, parameters, wanted, [], [], extras, inputWanted, recorded);
        }
        catch
        {
            Leave();
            throw;
        }
    }

    /// <summary>Counts a forward pass in native batch normalizations that train; modules that are called do so themselves.</summary>
    /// <param name="modes">The modes of the pass.</param>
    public void CountBatches(int[] modes) => mapping?.CountBatches(modes, UsesOf);

    /// <summary>How each function is evaluated on a state like x.</summary>
    public IReadOnlyList<string> Paths(Tensor x) =>
        [.. Enumerable.Range(0, functions.Modules.Count).Select(n => native.FunctionPath(n, x))];

    /// <summary>What a training step takes with each of these options, at a state like x; null where the functions are called.</summary>
    public IReadOnlyList<StepCost>? Costs(Tensor x, IEnumerable<StageOptions> options)
    {
        if (mapping is null)
        {
            return null;
        }

        using var list = new OptionsList();
        foreach (var one in options)
        {
            using var native = one.ToNative();
            list.Add(native);
        }

        using var costs = native.Costs(x, list);
        return [.. costs.Select(cost => new StepCost(cost))];
    }

    /// <summary>What the native stage has learned of its steps, as numbers; none where its reconstruction learns nothing.</summary>
    public double[] Learned()
    {
        using var numbers = native.Learned();
        return [.. numbers];
    }

    /// <summary>Goes on with what a stage of the same depth, solver and reconstruction has learned.</summary>
    /// <param name="learned">What <see cref="Learned"/> has given there.</param>
    /// <exception cref="ResNetNodesException">It is that of another stage.</exception>
    public void Restore(IEnumerable<double> learned)
    {
        using var numbers = new DoubleList(learned);
        native.RestoreLearned(numbers);
    }

    /// <summary>Goes on with what another configuration of the same functions has learned, where that still holds.</summary>
    public void TakeOver(StageConfiguration before)
    {
        var (now, then) = (Options, before.Options);
        if ((now.Reconstruction, now.Solver, now.StepSize) == (then.Reconstruction, then.Solver, then.StepSize))
        {
            Restore(before.Learned());
        }
    }

    /// <summary>Whether <see cref="Synchronize"/> takes it.</summary>
    public bool CanSynchronize => native.CanSynchronize();

    /// <summary>Batch statistics are those of all ranks from here on; null: of this process alone.</summary>
    /// <exception cref="ResNetNodesException">The functions are called, or recorded.</exception>
    public void Synchronize(NativeCommunicator? ranks) => native.Synchronize(ranks);

    /// <summary>Holds it for a call; false where the last holder has left.</summary>
    public bool TryHold()
    {
        int now;
        do
        {
            now = Volatile.Read(ref holders);
        }
        while (now > 0 && Interlocked.CompareExchange(ref holders, now + 1, now) != now);
        return now > 0;
    }

    /// <summary>A call ends, or the stage lets go of this configuration. The last one who does ends it.</summary>
    public void Leave()
    {
        if (Interlocked.Decrement(ref holders) == 0)
        {
            native.Dispose();
            mapping?.Functions.Dispose();
        }
    }

    /// <summary>The stage lets go of this configuration.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0)
        {
            Leave();
        }
    }

    private static Stage Native(LayerMapping? mapping, StageFunctions functions, StageOptions options)
    {
        using var nativeOptions = options.ToNative();
        nativeOptions.Residual = functions.IsResidual;
        try
        {
            return mapping is not null
                ? new Stage(mapping.Functions, functions.Depth, nativeOptions)
                : new Stage(functions.Depth, nativeOptions);
        }
        catch (ResNetNodesException exception)
        {
            throw new ArgumentException(exception.Message, exception);
        }
    }

    // What stands in the way of native layers; a function alone has no number.
    private static string Told(StageFunctions functions, string obstacle) =>
        functions.IsResidual ? obstacle
        : obstacle.StartsWith("function 0: ", StringComparison.Ordinal) ? obstacle["function 0: ".Length..]
        : obstacle.Replace("function 0", functions.NameOf(0), StringComparison.Ordinal);

    // Evaluations of a module in one forward pass; a shared one does those of all functions.
    private long UsesOf(int module) => functions.Modules.Count == 1 ? uses.Sum() : uses[module];
}
