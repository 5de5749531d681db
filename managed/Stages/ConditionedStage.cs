using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using ResNetNodes.Stages.Engine;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// A residual stage whose functions take an extra input: x_{n+1} = x_n + h f_n(x_n, c). The gradient of c is summed over the
/// steps. Functions run by callback.
/// </summary>
public sealed class ConditionedStage : nn.Module<Tensor, Tensor, Tensor>, ILearningStage, IRankedStage
{
    private const string Unmappable = "its functions take extra inputs";
    private readonly StageEngine engine;
#pragma warning disable IDE0052, CA1823 // registered as a submodule through this field
    private readonly ModuleList<nn.Module> functions;
#pragma warning restore IDE0052, CA1823

    /// <summary>Functions f_n(x, c).</summary>
    /// <param name="functions">N modules that take a state and the condition.</param>
    /// <param name="options">How the stage is integrated and differentiated.</param>
    public ConditionedStage(IEnumerable<nn.Module<Tensor, Tensor, Tensor>> functions, StageOptions? options = null)
        : this(StageFunctions.All(functions), 0, options, CallWithoutDepth)
    {
    }

    /// <summary>Functions f_n(x, c, t) that also take the depth t = n/N, a tensor of no dimension of x's dtype and device.</summary>
    /// <param name="functions">N modules that take a state, the condition and the depth.</param>
    /// <param name="options">How the stage is integrated and differentiated.</param>
    public ConditionedStage(IEnumerable<nn.Module<Tensor, Tensor, Tensor, Tensor>> functions, StageOptions? options = null)
        : this(StageFunctions.All(functions), 0, options, CallWithDepth)
    {
    }

    private ConditionedStage(nn.Module[] functions, int depth, StageOptions? options, Func<nn.Module, Tensor, Tensor, double, Tensor> call)
        : base(nameof(ConditionedStage))
    {
        depth = depth > 0 ? depth : Math.Max(functions.Length, 1);
        var all = new StageFunctions(functions, depth, (function, x, extras, t) => call(function, x, extras[0], t), Unmappable);
        engine = new StageEngine(nameof(ConditionedStage), all, options);
        this.functions = new ModuleList<nn.Module>(functions);
        RegisterComponents();
    }

    /// <summary>N.</summary>
    public int Depth => engine.Depth;

    /// <summary>How the stage is integrated and differentiated. May be changed between steps.</summary>
    /// <exception cref="ArgumentException">An invalid option; the stage is left as it was.</exception>
    public StageOptions Options
    {
        get => engine.Options;
        set => engine.Options = value;
    }

    /// <summary>How the functions are evaluated: <see cref="StageExecution.Callback"/>.</summary>
    public StageExecution Execution => engine.Execution;

    /// <summary>Why they are evaluated that way.</summary>
    public string ExecutionReason => engine.ExecutionReason;

    /// <summary>What the last backward pass reported; null before the first. Blocks until the GPU has finished that pass.</summary>
    public StageReport? LastReport => engine.LastReport;

    /// <inheritdoc/>
    bool IRankedStage.CanSynchronize => engine.CanSynchronize;

    /// <inheritdoc/>
    bool IRankedStage.AddsInPlace => engine.AddsInPlace;

    /// <inheritdoc/>
    StageOptions ILearningStage.Given => engine.Given;

    /// <inheritdoc/>
    IReadOnlyList<double> ILearningStage.Learned
    {
        get => engine.Learned;
        set => engine.Learned = value;
    }

    /// <summary>A stage whose steps all share one function f(x, c).</summary>
    /// <param name="function">A module that takes a state and the condition.</param>
    /// <param name="depth">N, at least 1.</param>
    /// <param name="options">How the stage is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ConditionedStage Shared(nn.Module<Tensor, Tensor, Tensor> function, int depth, StageOptions? options = null) =>
        new(StageFunctions.Shared(function, depth), depth, options, CallWithoutDepth);

    /// <summary>A stage whose steps all share one function f(x, c, t) of the depth t = n/N.</summary>
    /// <param name="function">A module that takes a state, the condition and the depth.</param>
    /// <param name="depth">N, at least 1.</param>
    /// <param name="options">How the stage is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ConditionedStage Shared(nn.Module<Tensor, Tensor, Tensor, Tensor> function, int depth, StageOptions? options = null) =>
        new(StageFunctions.Shared(function, depth), depth, options, CallWithDepth);

    /// <summary>Runs the stage.</summary>
    /// <param name="input1">State.</param>
    /// <param name="input2">The condition, of any shape.</param>
    /// <returns>x_N, of the state's shape.</returns>
    public override Tensor forward(Tensor input1, Tensor input2)
    {
        ArgumentNullException.ThrowIfNull(input2);
        return engine.Run(input1, [input2], training);
    }

    /// <inheritdoc/>
    void IRankedStage.Synchronize(NativeCommunicator? ranks) => engine.Synchronize(ranks);

    /// <inheritdoc/>
    void IRankedStage.Tell(IGradientListener? listener) => engine.Tell(listener);

    /// <summary>Names depth, solver, reconstruction and execution.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => engine.ToString();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            engine.Dispose();
        }

        base.Dispose(disposing);
    }

    private static Tensor CallWithoutDepth(nn.Module module, Tensor x, Tensor c, double t) =>
        ((nn.Module<Tensor, Tensor, Tensor>)module).call(x, c);

    private static Tensor CallWithDepth(nn.Module module, Tensor x, Tensor c, double t) =>
        ((nn.Module<Tensor, Tensor, Tensor, Tensor>)module).call(x, c, tensor(t, x.dtype, x.device));
}
