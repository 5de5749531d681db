using System.Diagnostics;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Statistics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Bench;

/// <summary>A network of its own under one method, with what was measured of it.</summary>
internal sealed class BenchTrial : IDisposable
{
    /// <summary>Small, so that thousands of steps on one batch neither diverge nor change what is measured.</summary>
    private const double Rate = 1e-3;

    private const int OverheadRounds = 15;

    private readonly SGD optimizer;
    private readonly Tensor input;
    private readonly Tensor? labels;

    /// <param name="network">The network.</param>
    /// <param name="method">The method.</param>
    /// <param name="weights">Parameters to begin from; copied.</param>
    /// <param name="input">Shared by all trials of a network.</param>
    /// <param name="labels">Shared as well.</param>
    /// <param name="rate">Learning rate.</param>
    public BenchTrial(
        BenchNetwork network,
        BenchMethod method,
        IReadOnlyList<Tensor>? weights,
        Tensor input,
        Tensor? labels,
        double rate = Rate)
    {
        (Network, Method, this.input, this.labels) = (network, method, input, labels);
        Parts = network.Build(method.Options);
        if (weights is not null)
        {
            using var guard = no_grad();
            foreach (var (own, given) in Parameters.Zip(weights))
            {
                own.copy_(given).DetachFromDisposeScope();
            }
        }

        if (input.dtype != ScalarType.Float32)
        {
            Parts.Owner.to(input.dtype);
        }

        method.Prepare(Parts);
        optimizer = optim.SGD(Parts.Owner.parameters(), rate);
    }

    public BenchNetwork Network { get; }

    public BenchMethod Method { get; }

    public BenchParts Parts { get; }

    public IReadOnlyList<Tensor> Parameters => [.. Parts.Owner.parameters()];

    /// <summary>Seconds of the measured steps.</summary>
    public List<double> Seconds { get; } = [];

    /// <summary>Seconds of them inside of the native engine; none for other methods.</summary>
    public List<double> StageSeconds { get; } = [];

    /// <summary>
    /// What a stage's two passes take outside of the native engine; null until measured, and for other methods.
    /// </summary>
    public double? OverheadSeconds { get; private set; }

    /// <summary>Evaluations of residual functions on the way back, by layer; null where no stage counts them.</summary>
    public double? EvaluationsPerLayer =>
        Method.HasStage ? (double)Parts.Stages.Sum(s => s.LastReport!.Evaluations) / Parts.Stages.Sum(s => s.Depth) : null;

    /// <summary>One training step: zero_grad, forward, loss, backward, optimizer.</summary>
    public void Step()
    {
        using var scope = NewDisposeScope();
        optimizer.zero_grad();
        Method.Backward(Parts, input, labels);
        optimizer.step();
    }

    /// <summary>
    /// One step on the clock, from a clean heap: a step pays for the collections that it causes itself.
    /// </summary>
    public void TimeStep()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var watch = Stopwatch.StartNew();
        Step();
        Seconds.Add(watch.Elapsed.TotalSeconds);
        if (Method.IsNative)
        {
            StageSeconds.Add(EngineSeconds);
        }
    }

    /// <summary>
    /// Measures <see cref="OverheadSeconds"/> on the one stage alone, so that what stands around it in the network does not count:
    /// the clock of a call and its way back, against the engine's own. Managed layer, binding and LibTorch's autograd are the rest.
    /// </summary>
    public void MeasureOverhead(CancellationToken cancellation)
    {
        if (!Method.IsNative || Network.Depth is null)
        {
            return;
        }

        using var state = StageInput();
        var outside = new List<double>();

        // Once, not each time: a collection reads all objects of all networks here, and a step behind it finds its own
        // in no cache.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        for (var i = 0; i < OverheadRounds; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            optimizer.zero_grad();
            var start = Stopwatch.GetTimestamp();
            using (NewDisposeScope())
            {
                var output = Parts.Stages[0].call(state);
                output.backward([output]);
            }

            var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            outside.Add(seconds - EngineSeconds);
            using var gradient = state.grad;
            gradient?.zero_();
        }

        OverheadSeconds = Fit.Quantile(outside, 0.5);
    }

    private double EngineSeconds => Parts.Stages.Select(s => s.LastReport!).Sum(report => report.ForwardSeconds + report.BackwardSeconds);

    // As it comes in a training step: behind a stem it wants a gradient.
    private Tensor StageInput()
    {
        using var guard = no_grad();
        return BenchMethod.State(Parts, input).requires_grad_(!Parts.IsStage);
    }

    /// <summary>All gradients at the present weights, as one vector.</summary>
    public Tensor Gradients()
    {
        using var scope = NewDisposeScope();
        optimizer.zero_grad();
        Method.Backward(Parts, input, labels);
        return cat([.. Parameters.Select(p => p.grad!.reshape(-1))]).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        optimizer.Dispose();
        Parts.Dispose();
    }
}
