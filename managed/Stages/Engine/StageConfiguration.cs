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
    private readonly Stage? native;
    private readonly IReadOnlyList<long> uses;

    private StageConfiguration(StageFunctions functions, StageOptions options, LayerMapping? mapping, Stage? native, IReadOnlyList<long> uses, string reason) =>
        (this.functions, Options, this.mapping, this.native, this.uses, Reason) = (functions, options, mapping, native, uses, reason);

    public StageOptions Options { get; }

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
        var reason = options.Execution == StageExecution.Callback ? "the modules are to be called (StageExecution.Callback)" : functions.Unmappable;
        var mapping = reason.Length == 0 ? LayerMapping.TryMap(functions.Modules, out reason) : null;
        if (mapping is not null)
        {
            return new(functions, options, mapping, Layers(mapping, functions.Depth, options), uses, "all layers are known");
        }

        if (options.Execution == StageExecution.Layers)
        {
            throw new ArgumentException($"the stage can't run as native layers: {reason}");
        }

        if (options.CudaGraphs || options.ComputeType == ComputeType.BFloat16)
        {
            throw new ArgumentException(options.CudaGraphs
                ? $"CudaGraphs needs native layers: {reason}; leave it off"
                : $"ComputeType.BFloat16 needs native layers: {reason}; cast inside the modules instead");
        }

        return new(functions, options, null, null, uses, options.Execution == StageExecution.Callback ? "asked for" : reason);
    }

    /// <summary>Takes down what a call of the stage is made with.</summary>
    /// <param name="extras">The extra inputs.</param>
    /// <param name="bypass">What stands for the parameters where their gradients bypass autograd.</param>
    /// <param name="training">Whether the stage is in training mode.</param>
    /// <param name="recorded">Whether a backward pass may follow, given the parameters.</param>
    public CallSnapshot Snapshot(IReadOnlyList<Tensor> extras, Tensor bypass, bool training, Func<IReadOnlyList<Tensor>, bool> recorded)
    {
        if (mapping is not null)
        {
            mapping.CheckModes(training);
            var weights = mapping.Parameters();
            IReadOnlyList<Tensor> inputs = Options.AccumulateGradientsInPlace ? [bypass] : weights;
            return new(native!, null, weights, inputs, mapping.Buffers(), extras, training, recorded(weights));
        }

        IReadOnlyList<Tensor> parameters = [.. functions.Modules.SelectMany(m => m.parameters()).DistinctBy(p => p.Handle)];
        var wanted = recorded(parameters);
        var callback = new ModuleCallback(functions.Modules, functions.Call, extras, seeded: training || wanted);
        return new(Callbacks(callback), callback, parameters, parameters, [], extras, training, wanted);
    }

    /// <summary>Counts a training forward pass in the batch normalizations of native layers; modules that are called do so themselves.</summary>
    public void CountBatches() => mapping?.CountBatches(UsesOf);

    /// <summary>How each function is evaluated on a state like x.</summary>
    public IReadOnlyList<string> Paths(Tensor x)
    {
        if (native is not null)
        {
            return PathsOf(native);
        }

        using var callback = new ModuleCallback(functions.Modules, functions.Call, [], seeded: false);
        using var stage = Callbacks(callback);
        return PathsOf(stage);

        IReadOnlyList<string> PathsOf(Stage stage) => [.. Enumerable.Range(0, functions.Modules.Count).Select(n => stage.FunctionPath(n, x))];
    }

    public void Dispose()
    {
        native?.Dispose();
        mapping?.Functions.Dispose();
    }

    private static Stage Layers(LayerMapping mapping, int depth, StageOptions options)
    {
        using var nativeOptions = options.ToNative();
        try
        {
            return new Stage(mapping.Functions, depth, nativeOptions);
        }
        catch (ResNetNodesException exception)
        {
            throw new ArgumentException(exception.Message, exception);
        }
    }

    private Stage Callbacks(ModuleCallback callback)
    {
        using var nativeOptions = Options.ToNative();
        using var table = callback.Table;
        return new Stage(table, functions.Depth, nativeOptions);
    }

    // Evaluations of a module in one forward pass; a shared one does those of all functions.
    private long UsesOf(int module) => functions.Modules.Count == 1 ? uses.Sum() : uses[module];
}
