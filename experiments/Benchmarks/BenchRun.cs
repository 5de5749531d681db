using System.Diagnostics;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Benchmarks;

/// <summary>How points are measured.</summary>
/// <param name="Methods">What is compared.</param>
/// <param name="Rounds">Steps of each method; null: as many as <see cref="BudgetSeconds"/> holds.</param>
/// <param name="TrainSteps">Training of the weights beforehand.</param>
/// <param name="Seed">Of weights, data and the order within rounds.</param>
internal sealed record BenchRun(IReadOnlyList<BenchMethod> Methods, int? Rounds, int TrainSteps, long Seed)
{
    /// <summary>The measured rounds of a network at one width and depth, where their number is not given.</summary>
    public const double BudgetSeconds = 20;

    private const int LeastRounds = 5, MostRounds = 50, WarmUp = 2;
    private const double TrainingRate = 0.1;

    /// <summary>All methods of one network, interleaved; in float32.</summary>
    public T Measure<T>(BenchNetwork network, Action<double, string> progress, CancellationToken cancellation, Func<List<BenchTrial>, T> read)
    {
        using var start = Prepare(network);
        var trials = new List<BenchTrial>();
        try
        {
            trials.AddRange(Methods.Where(m => m.Fits(network)).Select(method => new BenchTrial(network, method, start.Weights, start.Input, start.Labels)));
            foreach (var trial in trials)
            {
                cancellation.ThrowIfCancellationRequested();
                progress(0, $"warming up {trial.Method.Name}");
                for (var i = 0; i < WarmUp; i++)
                {
                    trial.Step();
                }
            }

            var random = new Random((int)(Seed % int.MaxValue));
            var watch = Stopwatch.StartNew();
            Round(); // not counted: it shows how long one takes, and the first one finds caches as no later one does
            var rounds = Rounds ?? (int)Math.Clamp(BudgetSeconds / watch.Elapsed.TotalSeconds, LeastRounds, MostRounds);
            foreach (var trial in trials)
            {
                trial.Seconds.Clear();
            }

            for (var round = 0; round < rounds; round++)
            {
                progress((double)round / rounds, $"round {round + 1} of {rounds}");
                Round();
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
                        throw new ResNetNodesException($"{network}, {trial.Method.Name}: a step left {Live - before} tensors behind; its time would grow from round to round");
                    }
                }
            }

            return read(trials);
        }
        finally
        {
            trials.ForEach(trial => trial.Dispose());
        }
    }

    /// <summary>Error of each method's gradient against <see cref="BenchMethod.Reference"/>'s, in float64.</summary>
    public Dictionary<string, double> GradientErrors(BenchNetwork network, CancellationToken cancellation)
    {
        using var start = Prepare(network);
        using var input = start.Input.to(ScalarType.Float64);
        using var truth = Gradient(BenchMethod.Parse(BenchMethod.Reference, Methods[0].Options.Solver));
        using var size = truth.norm();
        return Methods.Where(m => m.Fits(network)).ToDictionary(method => method.Name, method =>
        {
            cancellation.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            return Gradient(method).sub(truth).norm().div(size).item<double>();
        });

        Tensor Gradient(BenchMethod method)
        {
            using var trial = new BenchTrial(network, method, start.Weights, input, start.Labels);
            return trial.Gradients();
        }
    }

    /// <summary>Peak, and what of it is the step's, of the one method; for a process of its own.</summary>
    public (long Peak, long Step) MeasureMemory(BenchNetwork network)
    {
        using var start = Prepare(network);
        using var trial = new BenchTrial(network, Methods.Single(), start.Weights, start.Input, start.Labels);
        start.DisposeWeights();
        return MemoryProbe.Measure(trial.Step, WarmUp, repeats: 3);
    }

    /// <summary>The machine's float32 arithmetic: a large matrix product, the best of several.</summary>
    public static double PeakOperationsPerSecond()
    {
        const int side = 2048, repeats = 9;
        using var guard = no_grad();
        using var a = randn(side, side);
        using var b = randn(side, side);
        var best = double.MaxValue;
        for (var i = 0; i < repeats; i++)
        {
            var watch = Stopwatch.StartNew();
            using var product = a.mm(b);
            best = Math.Min(best, watch.Elapsed.TotalSeconds);
        }

        return 2.0 * side * side * side / best;
    }

    private static long Live => DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;

    // The same for every method and every process: seeded weights and data, then training by backprop.
    private BenchStart Prepare(BenchNetwork network)
    {
        random.manual_seed(Seed);
        var (input, labels) = network.Data();
        using var scope = NewDisposeScope();
        using var trial = new BenchTrial(network, BenchMethod.Parse("backprop", Methods[0].Options.Solver), null, input, labels, TrainingRate);
        for (var i = 0; i < TrainSteps; i++)
        {
            trial.Step();
        }

        using var guard = no_grad();
        var weights = trial.Parameters.Select(p => p.detach().clone().DetachFromDisposeScope()).ToList();
        var finite = weights.All(w => w.isfinite().all().item<bool>());
        return finite ? new BenchStart(input, labels, weights) : throw new ResNetNodesException($"{network}: training diverged within {TrainSteps} steps; take fewer --train-steps");
    }
}

/// <summary>What all methods begin from.</summary>
internal sealed record BenchStart(Tensor Input, Tensor? Labels, List<Tensor> Weights) : IDisposable
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
