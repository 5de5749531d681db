using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// A residual stage x_{n+1} = x_n + h f_n(x_n), n = 0 … N−1, or Heun's (arXiv 2205.14612), whose backward pass finds the states
/// again instead of storing them.
/// </summary>
public sealed class ResidualStage : nn.Module<Tensor, Tensor>
{
    private const string TakesDepth = "its functions take the depth";
    private readonly StageEngine engine;
    private readonly ModuleList<nn.Module> functions;

    /// <summary>A stage of N functions, each used by one step.</summary>
    /// <param name="functions">f_0 … f_{N−1}: modules that keep a state's shape.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <exception cref="ArgumentException">No function, or an option that does not fit.</exception>
    public ResidualStage(IEnumerable<nn.Module<Tensor, Tensor>> functions, StageOptions? options = null)
        : this(StageEngine.All(functions), 0, options, (module, x, _) => ((nn.Module<Tensor, Tensor>)module).call(x), "")
    {
    }

    private ResidualStage(nn.Module[] functions, int depth, StageOptions? options, Func<nn.Module, Tensor, double, Tensor> call, string unmappable)
        : base(nameof(ResidualStage))
    {
        depth = depth > 0 ? depth : Math.Max(functions.Length, 1);
        engine = new StageEngine(
            functions,
            depth,
            options ?? new StageOptions(),
            (n, x, _) => call(functions[Math.Min(n, functions.Length - 1)], x, (double)n / depth),
            unmappable);
        this.functions = new ModuleList<nn.Module>(functions);
        RegisterComponents();
    }

    /// <summary>N.</summary>
    public int Depth => engine.Depth;

    /// <summary>The functions: N of them, or the one that all steps share.</summary>
    public IReadOnlyList<nn.Module> Functions => [.. functions];

    /// <summary>How the stage is integrated and differentiated. May be changed between steps.</summary>
    /// <exception cref="ArgumentException">An option that does not fit; the stage is left as it was.</exception>
    public StageOptions Options
    {
        get => engine.Options;
        set => engine.Options = value;
    }

    /// <summary>How the functions are evaluated: <see cref="StageExecution.Layers"/> or <see cref="StageExecution.Callback"/>.</summary>
    public StageExecution Execution => engine.Execution;

    /// <summary>Why they are evaluated that way.</summary>
    public string ExecutionReason => engine.ExecutionReason;

    /// <summary>What the last backward pass found out; null before the first.</summary>
    public StageReport? LastReport => engine.LastReport;

    /// <summary>A stage whose steps all share one function; its gradients are summed over the steps.</summary>
    /// <param name="function">The function.</param>
    /// <param name="depth">N, at least 1.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ResidualStage Shared(nn.Module<Tensor, Tensor> function, int depth, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentOutOfRangeException.ThrowIfLessThan(depth, 1);
        return new ResidualStage([function], depth, options, (module, x, _) => ((nn.Module<Tensor, Tensor>)module).call(x), "");
    }

    /// <summary>A stage of functions f_n(x, t) of the depth t = n/N. Functions run by callback.</summary>
    /// <param name="functions">N modules that take a state and t, a tensor of no dimension of the state's dtype and device.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ResidualStage WithDepth(IEnumerable<nn.Module<Tensor, Tensor, Tensor>> functions, StageOptions? options = null) =>
        new(StageEngine.All(functions), 0, options, CallWithDepth, TakesDepth);

    /// <summary>A stage whose steps share one function f(x, t) of the depth t = n/N. The function runs by callback.</summary>
    /// <param name="function">A module that takes a state and t, a tensor of no dimension of the state's dtype and device.</param>
    /// <param name="depth">N, at least 1.</param>
    /// <param name="options">How it is integrated and differentiated.</param>
    /// <returns>The stage.</returns>
    public static ResidualStage SharedWithDepth(nn.Module<Tensor, Tensor, Tensor> function, int depth, StageOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentOutOfRangeException.ThrowIfLessThan(depth, 1);
        return new ResidualStage([function], depth, options, CallWithDepth, TakesDepth);
    }

    /// <summary>Runs the stage.</summary>
    /// <param name="input">State [B, C, H, W] or [B, D]; float32, float64 or bfloat16; any device, that of the parameters.</param>
    /// <returns>x_N, of the input's shape, dtype and device; the caller owns it.</returns>
    /// <exception cref="ResNetNodesException">The input does not fit the functions.</exception>
    public override Tensor forward(Tensor input) => engine.Run(input, [], training);

    /// <summary>Names depth, solver, reconstruction and execution.</summary>
    /// <returns>One line.</returns>
    public override string ToString() =>
        engine.Describe(nameof(ResidualStage));

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            engine.Dispose();
        }

        base.Dispose(disposing);
    }

    private static Tensor CallWithDepth(nn.Module module, Tensor x, double t) =>
        ((nn.Module<Tensor, Tensor, Tensor>)module).call(x, tensor(t, x.dtype, x.device));
}
