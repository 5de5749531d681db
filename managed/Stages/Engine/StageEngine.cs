using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>What the public stage modules share: functions, options that may change between calls, and the calls.</summary>
internal sealed class StageEngine : IDisposable
{
    private readonly StageFunctions functions;
    private readonly StageResults results;
    private readonly object configuring = new();
    private readonly string name;
    private StageConfiguration configuration;
    private NativeCommunicator? ranks;
    private IGradientListener? listener;

    /// <param name="name">What the stage is called in outputs and errors.</param>
    /// <param name="functions">The functions.</param>
    /// <param name="options">The options; null for the defaults; checked here.</param>
    public StageEngine(string name, StageFunctions functions, StageOptions? options)
    {
        (this.name, this.functions) = (name, functions);
        results = new StageResults(name);
        configuration = StageConfiguration.Of(functions, options ?? new StageOptions());
        Given = configuration.Options;
    }

    public int Depth => functions.Depth;

    public StageExecution Execution => Current().Execution;

    public string ExecutionReason => Current().Reason;

    public StageReport? LastReport => results.Last;

    /// <summary>Whether ways back add to <c>.grad</c> themselves, as the stage is now.</summary>
    public bool AddsInPlace => Options.AccumulateGradientsInPlace && Execution == StageExecution.Layers;

    /// <summary>Whether <see cref="Synchronize"/> takes the stage as it is now.</summary>
    public bool CanSynchronize => With(current => current.CanSynchronize);

    /// <summary>
    /// What the steps have been learned to need, as numbers that a checkpoint keeps. Set where the reconstruction learns nothing: without
    /// effect.
    /// </summary>
    /// <exception cref="ResNetNodesException">Set to those of another stage.</exception>
    public IReadOnlyList<double> Learned
    {
        get => With(current => current.Learned());
        set => With(current =>
        {
            if (current.Learned().Length > 0)
            {
                current.Restore(value);
            }

            return value;
        });
    }

    public StageOptions Options
    {
        get => Volatile.Read(ref configuration).Options;
        set
        {
            UsePlanned(value);
            Given = value;
        }
    }

    /// <summary>The options that it was given last: others than <see cref="Options"/> where a plan has chosen those.</summary>
    public StageOptions Given { get; private set; }

    /// <summary>Goes on with options that a plan has chosen.</summary>
    public void UsePlanned(StageOptions options) => Use(StageConfiguration.Of(functions, options));

    public Tensor Run(Tensor x, IReadOnlyList<Tensor> extras, bool training)
    {
        results.ThrowIfDisposed();
        ArgumentNullException.ThrowIfNull(x);
        StageResults.ReleaseGradients();
        results.Settle();
        var current = Held();
        var snapshot = current.Snapshot(x, extras, training);
        var call = new StageCall(snapshot, results, Volatile.Read(ref listener));
        var output = snapshot.Recorded ? call.Record(x) : call.Evaluate(x);
        current.CountBatches(snapshot.Modes);
        return output;
    }

    /// <summary>What a training step takes with each of these options at a state like x; null where the functions are called.</summary>
    public IReadOnlyList<StepCost>? Costs(Tensor x, IReadOnlyList<StageOptions> options) => With(current => current.Costs(x, options));

    /// <summary>
    /// From the next forward pass on, batch statistics are those of all ranks, whatever options follow; null: of this process alone.
    /// </summary>
    /// <exception cref="ResNetNodesException">
    /// The stage is called or recorded. Options and modules that would make it so are refused from here on.
    /// </exception>
    public void Synchronize(NativeCommunicator? communicator)
    {
        results.ThrowIfDisposed();
        lock (configuring)
        {
            configuration.Synchronize(communicator);
            ranks = communicator;
        }
    }

    /// <summary>From the next forward pass on, this one is told of gradients that ways back add to in place; null: nobody is.</summary>
    public void Tell(IGradientListener? next) => Volatile.Write(ref listener, next);

    /// <summary>How each function is evaluated on a state like x.</summary>
    public IReadOnlyList<string> DescribeFunctions(Tensor x)
    {
        results.ThrowIfDisposed();
        ArgumentNullException.ThrowIfNull(x);
        return Current().Paths(x);
    }

    public override string ToString()
    {
        var options = Options;
        var compute = options.ComputeType == ComputeType.SameAsState ? string.Empty : $", compute={Text(options.ComputeType)}";
        var stored = options.Reconstruction == Reconstruction.Backprop ? "true" : "false";
        var what = functions.IsResidual
            ? $"depth={Depth}, solver={options.Solver}, reconstruction={options.Reconstruction}"
            : $"module={functions.Modules[0].GetType().Name}, stored={stored}";
        return $"{name}({what}, execution={Text(Execution)}{compute})";
    }

    public void Dispose()
    {
        results.Dispose();
        lock (configuring)
        {
            configuration.Dispose();
        }
    }

    // The modules may have changed since the last call. A call that is under way keeps the configuration that it began with.
    private StageConfiguration Current()
    {
        while (true)
        {
            var known = Volatile.Read(ref configuration);
            var current = known.Current();
            if (ReferenceEquals(known, current) || Use(current, known))
            {
                return current;
            }

            // Other options have come meanwhile.
            current.Dispose();
        }
    }

    // The current one, held for a call: it may be replaced at any moment, and ends with its last holder.
    private StageConfiguration Held()
    {
        while (true)
        {
            var current = Current();
            if (current.TryHold())
            {
                return current;
            }

            results.ThrowIfDisposed();
        }
    }

    // In place of another one, if it is still that one that is in use; of any, if none is named.
    private bool Use(StageConfiguration next, StageConfiguration? insteadOf = null)
    {
        lock (configuring)
        {
            var before = configuration;
            if (insteadOf is not null && !ReferenceEquals(before, insteadOf))
            {
                return false;
            }

            try
            {
                next.Synchronize(ranks);
            }
            catch
            {
                next.Dispose();
                throw;
            }

            next.TakeOver(before);
            Volatile.Write(ref configuration, next);
            before.Dispose();
            return true;
        }
    }

    private T With<T>(Func<StageConfiguration, T> read)
    {
        results.ThrowIfDisposed();
        var current = Held();
        try
        {
            return read(current);
        }
        finally
        {
            current.Leave();
        }
    }

#pragma warning disable CA1308 // as users write them
    private static string Text<T>(T value)
        where T : struct, Enum => value.ToString().ToLowerInvariant();
#pragma warning restore CA1308
}
