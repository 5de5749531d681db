using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using ResNetNodes.Stages.Engine;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// A residual stage x_{n+1} = x_n + h f_n(x_n), n = 0 … N−1 (arXiv 2205.14612), or a solver's of higher order, whose backward pass
/// reconstructs the states instead of storing them.
/// </summary>
public sealed class ResidualStage : nn.Module<Tensor, Tensor>, ILearningStage, IRankedStage
{
    private const string TakesDepth = "its functions take the depth";
    private readonly StageEngine engine;
    private readonly ModuleList<nn.Module> functions;

    /// <summary>A stage of N functions, each used by one step.</summary>
    /// <param name="functions">f_0 … f_{N−1}: modules that keep a state's shape.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <exception cref="ArgumentException">No function, or an invalid option.</exception>
    public ResidualStage(IEnumerable<nn.Module<Tensor, Tensor>> functions, StageOptions? options = null)
        : this(StageFunctions.All(functions), 0, options, CallWithoutDepth, "")
    {
    }

    private ResidualStage(
        nn.Module[] functions, int depth, StageOptions? options, Func<nn.Module, Tensor, double, Tensor> call, string unmappable)
        : base(nameof(ResidualStage))
    {
        depth = depth > 0 ? depth : Math.Max(functions.Length, 1);
        var all = new StageFunctions(functions, depth, (function, x, _, t) => call(function, x, t), unmappable);
        engine = new StageEngine(nameof(ResidualStage), all, options);
        this.functions = new ModuleList<nn.Module>(functions);
        RegisterComponents();
    }

    /// <summary>N.</summary>
    public int Depth => engine.Depth;

    /// <summary>The functions: N of them, or the one that all steps share.</summary>
    public IReadOnlyList<nn.Module> Functions => [.. functions];

    /// <summary>How the stage is integrated and differentiated. May be changed between steps.</summary>
    /// <exception cref="ArgumentException">An invalid option; the stage is left as it was.</exception>
    public StageOptions Options
    {
        get => engine.Options;
        set => engine.Options = value;
    }

    /// <summary>How the functions are evaluated: <see cref="StageExecution.Layers"/> or <see cref="StageExecution.Callback"/>.</summary>
    public StageExecution Execution => engine.Execution;

    /// <summary>Why they are evaluated that way.</summary>
    public string ExecutionReason => engine.ExecutionReason;

    /// <summary>What the last backward pass reported; null before the first. Blocks until the GPU has finished that pass.</summary>
    public StageReport? LastReport => engine.LastReport;

    /// <summary>What plans of memory ask, and set options of.</summary>
    internal StageEngine Engine => engine;

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

    /// <summary>A stage whose steps all share one function; its gradients are summed over the steps.</summary>
    /// <param name="function">The function.</param>
    /// <param name="depth">N, at least 1.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ResidualStage Shared(nn.Module<Tensor, Tensor> function, int depth, StageOptions? options = null) =>
        new(StageFunctions.Shared(function, depth), depth, options, CallWithoutDepth, "");

    /// <summary>A stage of functions f_n(x, t) of the depth t = n/N. Functions run by callback.</summary>
    /// <param name="functions">N modules that take a state and t, a tensor of no dimension of the state's dtype and device.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ResidualStage WithDepth(IEnumerable<nn.Module<Tensor, Tensor, Tensor>> functions, StageOptions? options = null) =>
        new(StageFunctions.All(functions), 0, options, CallWithDepth, TakesDepth);

    /// <summary>A stage whose steps share one function f(x, t) of the depth t = n/N. The function runs by callback.</summary>
    /// <param name="function">A module that takes a state and t, a tensor of no dimension of the state's dtype and device.</param>
    /// <param name="depth">N, at least 1.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ResidualStage SharedWithDepth(nn.Module<Tensor, Tensor, Tensor> function, int depth, StageOptions? options = null) =>
        new(StageFunctions.Shared(function, depth), depth, options, CallWithDepth, TakesDepth);

    /// <summary>Runs the stage.</summary>
    /// <param name="input">State [B, C, H, W] or [B, D]; float32, float64 or bfloat16; any device, that of the parameters.</param>
    /// <returns>x_N, of the input's shape, dtype and device; the caller owns it.</returns>
    /// <exception cref="ResNetNodesException">The input does not fit the functions.</exception>
    public override Tensor forward(Tensor input) => engine.Run(input, [], training);

    /// <summary>
    /// How each of <see cref="Functions"/> would be evaluated on a state like this one: "fused conv3x3-conv3x3, 16 channels, avx512",
    /// "fused linear-tanh-linear, 8 hidden, avx512", "operators, channels_last", "operators" or "callbacks"; ", bfloat16" follows where
    /// they compute in that. Layers, dtype, device and shape decide, and the environment variable RESNET_NODES_FUSED.
    /// </summary>
    /// <param name="x">A state as for <see cref="forward"/>; its values are not read.</param>
    /// <returns>One text for each function.</returns>
    public IReadOnlyList<string> DescribeFunctions(Tensor x) => engine.DescribeFunctions(x);

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

    private static Tensor CallWithoutDepth(nn.Module module, Tensor x, double t) => ((nn.Module<Tensor, Tensor>)module).call(x);

    private static Tensor CallWithDepth(nn.Module module, Tensor x, double t) =>
        ((nn.Module<Tensor, Tensor, Tensor>)module).call(x, tensor(t, x.dtype, x.device));
}
