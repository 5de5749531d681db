using ResNetNodes.Interop;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>What the public stage modules share: functions, options, the native stage, and its runs.</summary>
internal sealed class StageEngine : IDisposable
{
    private readonly IReadOnlyList<nn.Module> modules;
    private readonly FunctionCall call;
    private readonly string unmappable;

    // Stands for parameters whose gradients go past autograd: has it call the way back where x wants no gradient.
    private readonly Tensor anchor = zeros([], requires_grad: true).DetachFromDisposeScope();
    private LayerMapping? mapping;
    private Stage? native;
    private StageOptions options;
    private List<Tensor?> returned = [];
    private StageReport? lastReport;
    private StageContext? unread;
    private bool disposed;

    /// <param name="modules">The functions, N or one that all share.</param>
    /// <param name="depth">N.</param>
    /// <param name="options">The options; checked here.</param>
    /// <param name="call">How a function is called.</param>
    /// <param name="unmappable">Why functions can't be native layers whatever they are made of; empty where they take a state alone.</param>
    public StageEngine(IReadOnlyList<nn.Module> modules, int depth, StageOptions options, FunctionCall call, string unmappable)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(depth, 1);
        if (modules.Count == 0)
        {
            throw new ArgumentException("a stage needs at least one residual function", nameof(modules));
        }

        this.modules = modules;
        this.call = call;
        this.unmappable = unmappable;
        for (var i = 0; i < modules.Count; i++)
        {
            if (modules[i] is null)
            {
                throw new ArgumentException($"function {i} is null", nameof(modules));
            }
        }

        this.options = options;
        Depth = depth;
        ExecutionReason = string.Empty;
        Configure(options);
    }

    public int Depth { get; }

    public StageExecution Execution => mapping is null ? StageExecution.Callback : StageExecution.Layers;

    public string ExecutionReason { get; private set; }

    /// <summary>Waits for a GPU that has not come so far.</summary>
    public StageReport? LastReport
    {
        get
        {
            ReadReport();
            return lastReport;
        }
    }

    public bool IsDisposed => disposed;

    public StageOptions Options
    {
        get => options;
        set => Configure(value);
    }

    /// <summary>A caller's list of functions.</summary>
    public static nn.Module[] All(IEnumerable<nn.Module> functions)
    {
        ArgumentNullException.ThrowIfNull(functions);
        return [.. functions];
    }

    public Tensor Run(Tensor x, IReadOnlyList<Tensor> extras, bool training)
    {
        ObjectDisposedException.ThrowIf(disposed, typeof(ResidualStage));
        ArgumentNullException.ThrowIfNull(x);
        ReleaseReturned();
        if (unread?.ReportIsReady() ?? false)
        {
            ReadReport();
        }

        mapping?.CheckModes(training);
        IReadOnlyList<Tensor> parameters = mapping is not null
            ? mapping.Parameters()
            : [.. modules.SelectMany(m => m.parameters()).DistinctBy(p => p.Handle)];
        var recorded = is_grad_enabled() && (x.requires_grad || parameters.Any(p => p.requires_grad) || extras.Any(e => e.requires_grad));
        var inputs = mapping is not null && options.AccumulateGradientsInPlace ? [anchor] : parameters;
        var stageCall = new StageCall(this, parameters, inputs, extras, training, recorded);
        var output = recorded
            ? StageFunction.apply([x, .. inputs, .. extras, stageCall])
            : stageCall.Evaluate(x);
        if (training)
        {
            mapping?.CountBatches(UsesOf);
        }

        return output;
    }

    /// <summary>The native stage for one call: the stage itself, or one of the call's own with its callbacks.</summary>
    /// <param name="extras">The extra inputs.</param>
    /// <param name="seeded">Whether callbacks draw their random numbers from a seed of the call.</param>
    public (Stage Stage, ModuleCallback? Callback) Open(IReadOnlyList<Tensor> extras, bool seeded)
    {
        using var nativeOptions = options.ToNative();
        if (mapping is not null)
        {
            return (native ??= new Stage(mapping.Functions, Depth, nativeOptions), null);
        }

        var callback = new ModuleCallback(modules, call, extras, seeded);
        using var table = callback.Table;
        return (new Stage(table, Depth, nativeOptions), callback);
    }

    public IReadOnlyList<Tensor> Buffers() => mapping?.Buffers() ?? [];

    /// <summary>Takes over a context whose backward pass is done. Its report is read at once where nothing has to wait for it.</summary>
    public void Finish(StageContext context)
    {
        unread?.Dispose();
        unread = context;
        if (context.ReportIsReady())
        {
            ReadReport();
        }
    }

    /// <summary>Autograd takes its own reference of what a backward pass returns and leaves the wrappers behind.</summary>
    public void DisposeLater(List<Tensor?> gradients)
    {
        ReleaseReturned();
        returned = gradients;
    }

    public string Describe(string name) =>
        $"{name}(depth={Depth}, solver={Text(options.Solver)}, reconstruction={options.Reconstruction}, execution={Text(Execution)}{(options.ComputeType == ComputeType.SameAsState ? string.Empty : $", compute={Text(options.ComputeType)}")})";

    public void Dispose()
    {
        disposed = true;
        ReleaseReturned();
        unread?.Dispose();
        unread = null;
        native?.Dispose();
        mapping?.Functions.Dispose();
        anchor.Dispose();
    }

    private void ReadReport()
    {
        if (unread is not { } context)
        {
            return;
        }

        unread = null;
        using (context)
        {
            using var report = context.Report();
            lastReport = StageReport.FromNative(report);
        }

        if (options.CheckpointOnFailure && lastReport.FailedSteps.Count > 0)
        {
            Options = options with { Reconstruction = Reconstruction.Checkpoint() };
        }
    }

    private void ReleaseReturned()
    {
        returned.ForEach(gradient => gradient?.Dispose());
        returned = [];
    }

#pragma warning disable CA1308 // as users write them
    private static string Text<T>(T value)
        where T : struct, Enum => value.ToString().ToLowerInvariant();
#pragma warning restore CA1308

    private int UsesOf(int function)
    {
        if (modules.Count == 1)
        {
            return options.Solver == Solver.Heun ? 2 * (Depth - 1) : Depth;
        }

        return options.Solver == Solver.Heun && function > 0 && function < Depth - 1 ? 2 : 1;
    }

    private void Configure(StageOptions value)
    {
        ArgumentNullException.ThrowIfNull(value);
        value.Validate();
        var reason = unmappable;
        var map = value.Execution == StageExecution.Callback ? null : unmappable.Length == 0 ? LayerMapping.TryMap(modules, out reason) : null;
        if (value.Execution == StageExecution.Layers && map is null)
        {
            throw new ArgumentException($"the stage can't run as native layers: {reason}");
        }

        if (map is null && (value.CudaGraphs || value.ComputeType == ComputeType.BFloat16))
        {
            var why = value.Execution == StageExecution.Callback ? "the modules are to be called (StageExecution.Callback)" : reason;
            throw new ArgumentException(value.CudaGraphs
                ? $"CudaGraphs needs native layers: {why}; leave it off"
                : $"ComputeType.BFloat16 needs native layers: {why}; cast inside of the modules in its place");
        }

        Stage? built = null;
        if (map is not null)
        {
            using var nativeOptions = value.ToNative();
            try
            {
                built = new Stage(map.Functions, Depth, nativeOptions);
            }
            catch (ResNetNodesException exception)
            {
                throw new ArgumentException(exception.Message, exception);
            }
        }
        else if (value.Solver == Solver.Heun && Depth < 2)
        {
            throw new ArgumentException($"depth is {Depth}, expected at least 2 with Heun's solver");
        }

        // The stage of a pass that is under way is left to its finalizer: its backward pass still needs it.
        native = built;
        mapping = map;
        options = value;
        ExecutionReason = map is not null ? "all layers are known" : value.Execution == StageExecution.Callback ? "asked for" : reason;
    }
}
