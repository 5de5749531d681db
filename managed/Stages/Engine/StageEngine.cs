using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>What the public stage modules share: functions, options that may change between calls, and the calls.</summary>
internal sealed class StageEngine : IDisposable
{
    private readonly StageFunctions functions;
    private readonly StageResults results;

    // Stands for parameters whose gradients bypass autograd: makes it call the way back where x needs no gradient.
    private readonly Tensor anchor = zeros([], requires_grad: true).DetachFromDisposeScope();
    private readonly string name;
    private StageConfiguration configuration;

    /// <param name="name">What the stage is called in outputs and errors.</param>
    /// <param name="functions">The functions.</param>
    /// <param name="options">The options; null for the defaults; checked here.</param>
    public StageEngine(string name, StageFunctions functions, StageOptions? options)
    {
        (this.name, this.functions) = (name, functions);
        results = new StageResults(name, Reported);
        configuration = StageConfiguration.Of(functions, options ?? new StageOptions());
    }

    public int Depth => functions.Depth;

    public StageExecution Execution => configuration.Execution;

    public string ExecutionReason => configuration.Reason;

    public StageReport? LastReport => results.Last;

    public StageOptions Options
    {
        get => configuration.Options;
        // The configuration before is left to its finalizer: the backward pass of a call that is under way still needs it.
        set => configuration = StageConfiguration.Of(functions, value);
    }

    public Tensor Run(Tensor x, IReadOnlyList<Tensor> extras, bool training)
    {
        results.ThrowIfDisposed();
        ArgumentNullException.ThrowIfNull(x);
        results.Settle();
        var current = configuration;
        var snapshot = current.Snapshot(extras, anchor, training, parameters =>
            is_grad_enabled() && (x.requires_grad || parameters.Any(p => p.requires_grad) || extras.Any(e => e.requires_grad)));
        var call = new StageCall(snapshot, results);
        var output = snapshot.Recorded
            ? StageFunction.apply([x, .. snapshot.Inputs, .. extras, call])
            : call.Evaluate(x);
        if (training)
        {
            current.CountBatches();
        }

        return output;
    }

    /// <summary>How each function is evaluated on a state like x.</summary>
    public IReadOnlyList<string> DescribeFunctions(Tensor x)
    {
        results.ThrowIfDisposed();
        ArgumentNullException.ThrowIfNull(x);
        return configuration.Paths(x);
    }

    public override string ToString()
    {
        var compute = Options.ComputeType == ComputeType.SameAsState ? string.Empty : $", compute={Text(Options.ComputeType)}";
        return $"{name}(depth={Depth}, solver={Options.Solver}, reconstruction={Options.Reconstruction}, execution={Text(Execution)}{compute})";
    }

    public void Dispose()
    {
        results.Dispose();
        configuration.Dispose();
        anchor.Dispose();
    }

    private void Reported(StageReport report)
    {
        if (Options.CheckpointOnFailure && report.FailedSteps.Count > 0)
        {
            Options = Options with { Reconstruction = Reconstruction.Checkpoint() };
        }
    }

#pragma warning disable CA1308 // as users write them
    private static string Text<T>(T value)
        where T : struct, Enum => value.ToString().ToLowerInvariant();
#pragma warning restore CA1308
}
