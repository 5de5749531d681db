using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// A residual stage whose functions take an extra input: x_{n+1} = x_n + h f_n(x_n, c). The gradient of c is summed over the
/// steps. Functions run by callback.
/// </summary>
public sealed class ConditionedStage : nn.Module<Tensor, Tensor, Tensor>
{
    private readonly StageEngine engine;
#pragma warning disable IDE0052, CA1823 // registered as a submodule through this field
    private readonly ModuleList<nn.Module> functions;
#pragma warning restore IDE0052, CA1823

    /// <summary>Functions f_n(x, c).</summary>
    /// <param name="functions">N modules that take a state and the condition.</param>
    /// <param name="options">How the stage is integrated and differentiated.</param>
    public ConditionedStage(IEnumerable<nn.Module<Tensor, Tensor, Tensor>> functions, StageOptions? options = null)
        : this([.. functions], (module, x, c, _) => ((nn.Module<Tensor, Tensor, Tensor>)module).call(x, c), options)
    {
    }

    /// <summary>Functions f_n(x, c, t) that also take the depth t = n/N, a tensor of no dimension of x's dtype and device.</summary>
    /// <param name="functions">N modules that take a state, the condition and the depth.</param>
    /// <param name="options">How the stage is integrated and differentiated.</param>
    public ConditionedStage(IEnumerable<nn.Module<Tensor, Tensor, Tensor, Tensor>> functions, StageOptions? options = null)
        : this(
            [.. functions],
            (module, x, c, t) => ((nn.Module<Tensor, Tensor, Tensor, Tensor>)module).call(x, c, tensor(t, x.dtype, x.device)),
            options)
    {
    }

    private ConditionedStage(nn.Module[] functions, Func<nn.Module, Tensor, Tensor, double, Tensor> call, StageOptions? options)
        : base(nameof(ConditionedStage))
    {
        this.functions = new ModuleList<nn.Module>(functions);
        engine = new StageEngine(
            functions,
            Math.Max(functions.Length, 1),
            options ?? new StageOptions(),
            (n, x, extras) => call(functions[n], x, extras[0], (double)n / functions.Length),
            mappable: false);
        RegisterComponents();
    }

    /// <summary>N.</summary>
    public int Depth => engine.Depth;

    /// <summary>How the stage is integrated and differentiated.</summary>
    public StageOptions Options
    {
        get => engine.Options;
        set => engine.Options = value;
    }

    /// <summary>What the last backward pass found out; null before the first.</summary>
    public StageReport? LastReport => engine.LastReport;

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
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            engine.Dispose();
        }

        base.Dispose(disposing);
    }
}
