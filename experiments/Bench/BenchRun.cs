using ResNetNodes.Measuring;
using System.Diagnostics;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Bench;

/// <summary>How points are measured.</summary>
/// <param name="Methods">What is compared.</param>
/// <param name="Rounds">Steps of each method; null: as many as <see cref="BudgetSeconds"/> holds.</param>
/// <param name="Seed">Of weights, data and the order within rounds.</param>
internal sealed record BenchRun(IReadOnlyList<BenchMethod> Methods, int? Rounds, long Seed)
{
    /// <summary>The measured rounds of a network at one width and depth, where their number is not given.</summary>
    public const double BudgetSeconds = 20;

    private const int LeastRounds = 5, MostRounds = 50, WarmUp = 2;
    private const double TrainingRate = 0.1;

    /// <summary>All methods of one network, interleaved.</summary>
    /// <param name="network">The network.</param>
    /// <param name="trainSteps">Training of the weights beforehand.</param>
    /// <param name="progress">Told how far it is.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <param name="read">What is wanted of the measured trials, and of the network's arithmetic.</param>
    public T Measure<T>(
        BenchNetwork network,
        int trainSteps,
        Action<double, string> progress,
        CancellationToken cancellation,
        Func<List<BenchTrial>, BenchWork, T> read)
    {
        using var start = Prepare(network, trainSteps, progress, cancellation);
        var trials = new List<BenchTrial>();
        try
        {
            trials.AddRange(Methods.Where(m => m.Fits(network)).Select(method =>
                new BenchTrial(network, method, start.Weights, start.Input, start.Labels)));
            foreach (var trial in trials)
            {
                cancellation.ThrowIfCancellationRequested();
                progress(0, $"warming up {trial.Method.Name}");
                for (var i = 0; i < WarmUp; i++)
                {
                    trial.Step();
                }
            }

            var random = new RandomNumbers(Seed).Stream();
            var watch = Stopwatch.StartNew();
            Round(); // not counted: it shows how long one takes, and the first one finds caches as no later one does
            var rounds = Rounds ?? (int)Math.Clamp(BudgetSeconds / watch.Elapsed.TotalSeconds, LeastRounds, MostRounds);
            foreach (var trial in trials)
            {
                trial.Seconds.Clear();
                trial.StageSeconds.Clear();
            }

            for (var round = 0; round < rounds; round++)
            {
                progress((double)round / rounds, $"round {round + 1} of {rounds}");
                Round();
            }

            foreach (var trial in trials)
            {
                progress(1, $"overhead of {trial.Method.Name}");
                trial.MeasureOverhead(cancellation);
            }

            void Round()
            {
                var order = trials.ToArray();
                random.Shuffle(order);
                foreach (var trial in order)
                {
                    cancellation.ThrowIfCancellationRequested();
                    var before = Live;
                    trial.TimeStep();
                    if (Live > before)
                    {
                        throw new ResNetNodesException(
                            $"{network}, {trial.Method.Name}: a step left {Live - before} tensors behind; its time would grow from "
                            + "round to round");
                    }
                }
            }

            return read(trials, start.Work);
        }
        finally
        {
            trials.ForEach(trial => trial.Dispose());
        }
    }

    /// <summary>Error of each method's gradient against <see cref="BenchMethod.Reference"/>'s, in float64.</summary>
    public Dictionary<string, double> GradientErrors(
        BenchNetwork network, int trainSteps, Action<double, string> progress, CancellationToken cancellation)
    {
        using var start = Prepare(network, trainSteps, progress, cancellation);
        using var input = start.Input.to(ScalarType.Float64);
        using var truth = Gradient(
            BenchMethod.Parse(BenchMethod.Reference, Methods[0].Options.Solver), network with { Precision = BenchNetwork.Float32 });
        using var size = truth.norm();
        return Methods.Where(m => m.Fits(network)).ToDictionary(method => method.Name, method =>
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            return Gradient(method, network).sub(truth).norm().div(size).item<double>();
        });

        // What computes in bfloat16 takes float32 states.
        Tensor Gradient(BenchMethod method, BenchNetwork own)
        {
            var given = own.Precision == BenchNetwork.Float32 ? input : start.Input;
            using var trial = new BenchTrial(own, method, start.Weights, given, start.Labels);
            return trial.Gradients();
        }
    }

    /// <summary>
    /// Peak, and what of it is the step's, of the one method at fresh weights; for a process of its own.
    /// </summary>
    public (long Peak, long Step) MeasureMemory(BenchNetwork network, CancellationToken cancellation)
    {
        using var start = Prepare(network, 0, (_, _) => { }, cancellation);
        using var trial = new BenchTrial(network, Methods.Single(), start.Weights, start.Input, start.Labels);
        start.DisposeWeights();
        return MemoryProbe.Measure(trial.Step, WarmUp, repeats: 3);
    }

    private static long Live => DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;

    // The same for every method, precision and process: seeded weights and data, then training by backprop in float32.
    private BenchStart Prepare(BenchNetwork network, int trainSteps, Action<double, string> progress, CancellationToken cancellation)
    {
        new RandomNumbers(Seed).SeedTorch();
        var (input, labels) = network.Data();
        using var scope = NewDisposeScope();
        var backprop = BenchMethod.Parse("backprop", Methods[0].Options.Solver);
        using var trial = new BenchTrial(
            network with { Precision = BenchNetwork.Float32 }, backprop, null, input, labels, TrainingRate);
        for (var i = 0; i < trainSteps; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            progress((double)i / trainSteps, $"training, step {i + 1} of {trainSteps}");
            trial.Step();
        }

        using var guard = no_grad();
        var weights = trial.Parameters.Select(p => p.detach().clone().DetachFromDisposeScope()).ToList();
        var finite = weights.All(w => w.isfinite().all().item<bool>());
        return finite
            ? new BenchStart(input, labels, weights, BenchWork.Of(trial.Parts, input))
            : throw new ResNetNodesException($"{network}: training diverged within {trainSteps} steps; take fewer --train-steps");
    }
}

/// <summary>What all methods begin from.</summary>
/// <param name="Input">Images or rows.</param>
/// <param name="Labels">Of images that are classified.</param>
/// <param name="Weights">Parameters in order.</param>
/// <param name="Work">The network's arithmetic.</param>
internal sealed record BenchStart(Tensor Input, Tensor? Labels, List<Tensor> Weights, BenchWork Work) : IDisposable
{
    public void Dispose()
    {
        DisposeWeights();
        Input.Dispose();
        Labels?.Dispose();
    }

    /// <summary>Gives up the weights once they are copied.</summary>
    public void DisposeWeights()
    {
        Weights.ForEach(weight => weight.Dispose());
        Weights.Clear();
    }
}
