using ResNetNodes.Data;
using ResNetNodes.Distributed;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// A range test of learning rates (Smith, arXiv 1506.01186, section 3.3): training steps at rates that rise by a constant factor, and the
/// loss before each. The network is left as it was, bit for bit.
/// </summary>
public sealed record LearningRateSearch
{
    // A mean loss that has risen from its lowest by so many times that, and so many times its fall, has diverged: larger rates would
    // tell nothing more.
    private const double Diverged = 3;

    private const int RecentSteps = 5, FewestSteps = 10;

    /// <summary>The rate of the first step, above 0.</summary>
    public double Least { get; init; } = 1e-5;

    /// <summary>The rate of the last step, above <see cref="Least"/>.</summary>
    public double Most { get; init; } = 10;

    /// <summary>Steps of the optimizer, 10 or more; the batches begin anew where they end.</summary>
    public int Steps { get; init; } = 100;

    /// <summary>
    /// Measures. It takes the memory of the weights and buffers once more, beside a training's; gradients are cleared afterwards.
    /// </summary>
    /// <param name="model">
    /// The network, moved to the options' device; no <see cref="DataParallel"/>: the rate is that of the whole batch, which one process
    /// measures.
    /// </param>
    /// <param name="options">
    /// How it is going to be trained. What a step is made of counts: optimizer, loss, weight decay, clipping, accumulation, mixup, frozen
    /// norms, the factor of stages. Rate, schedule, epochs and average do not.
    /// </param>
    /// <param name="train">The training images, in the batches of the training.</param>
    /// <param name="measured">Called with each point.</param>
    /// <param name="cancellation">Ends the search before the next step.</param>
    /// <returns>The losses.</returns>
    /// <exception cref="ArgumentException">A number is out of its range, or the network is trained by several ranks.</exception>
    /// <exception cref="ResNetNodesException">An image can't be read, or a stage can't run.</exception>
    public LearningRateCurve Run(
        nn.Module<Tensor, Tensor> model,
        TrainingOptions options,
        BatchLoader train,
        Action<LearningRatePoint>? measured = null,
        CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(train);
        Validate();
        options.Validate();
        Devices.Require(options.Device);
        if (model is DataParallel)
        {
            throw new ArgumentException("the learning rate is that of the whole batch: search in one process, with the network itself");
        }

        model.to(options.Device);
        using var kept = new KeptNetwork(model);
        var (ranks, modes) = (new StepRanks(null, model), new ModuleModes(model, options));
        // Rates are then factors of 1.
        options = options with { LearningRate = 1 };
        using var update = new ParameterUpdate(model, options, ranks);
        var step = new TrainingStep(model, options, Evaluator.TypeOf(model), update, null, ranks);
        modes.Train();
        using var batches = train.Endless().Select((batch, number) => (number, batch)).GetEnumerator();
        try
        {
            return Measure(() => Take(options.Device, update, step, batches), update, measured, cancellation);
        }
        finally
        {
            foreach (var parameter in model.parameters())
            {
                parameter.grad = null;
            }
        }
    }

    private LearningRateCurve Measure(
        Func<double> take, ParameterUpdate update, Action<LearningRatePoint>? measured, CancellationToken cancellation)
    {
        List<LearningRatePoint> points = [];
        List<double> recent = [];
        var (first, lowest) = (double.NaN, double.PositiveInfinity);
        for (var i = 0; i < Steps; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            var rate = Least * Math.Pow(Most / Least, i / (Steps - 1.0));
            update.SetFactor(rate);
            double loss;
            try
            {
                loss = take();
            }
            catch (DivergedException)
            {
                return new(points, rate);
            }

            recent = [.. recent.TakeLast(RecentSteps - 1), loss];
            var mean = recent.Average();
            (first, lowest) = (i == 0 ? mean : first, Math.Min(lowest, mean));
            if (mean - lowest > Diverged * Math.Max(Math.Abs(lowest), first - lowest))
            {
                return new(points, rate);
            }

            points.Add(new(rate, loss));
            measured?.Invoke(points[^1]);
        }

        return new(points, null);
    }

    // A step of the optimizer: the mean loss over the images of its batches.
    private static double Take(Device device, ParameterUpdate update, TrainingStep step, IEnumerator<(int Number, Batch Batch)> batches)
    {
        var (sum, count) = (0.0, 0L);
        do
        {
            batches.MoveNext();
            using var scope = NewDisposeScope();
            var (number, batch) = batches.Current;
            using (batch)
            {
                var (images, labels) = batch.On(device);
                var found = step.Take(images, labels, number, false, false);
                (sum, count) = (sum + (found.Loss * found.Images), count + found.Images);
            }
        }
        while (update.IsOpen);

        return sum / count;
    }

    private void Validate()
    {
        if (!(Least > 0) || !double.IsFinite(Least))
        {
            throw new ArgumentOutOfRangeException(nameof(Least), Least, "expected a positive number");
        }

        if (!(Most > Least) || !double.IsFinite(Most))
        {
            throw new ArgumentOutOfRangeException(nameof(Most), Most, $"expected a number above the least rate, {Least}");
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(Steps, FewestSteps);
    }
}
