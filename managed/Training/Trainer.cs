using ResNetNodes.Measuring;
using System.Diagnostics;
using ResNetNodes.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// Trains a network for classification, with what its options say, and checkpoints that resume bit for bit. Refuses a second thread.
/// </summary>
public sealed class Trainer : IDisposable
{
    private readonly SingleThread thread = new("the trainer");
    private readonly nn.Module<Tensor, Tensor> model;
    private readonly TrainingOptions options;
    private readonly ModuleModes modes;
    private readonly ParameterUpdate update;
    private readonly WeightAverage? average;
    private readonly List<ResidualStage> stages;
    private readonly List<EpochMetrics> history = [];
    private readonly ScalarType type;
    private IReadOnlyList<Fact>? data;
    private (string Path, RunFacts Facts)? resumed;
    private TimeSpan stepping;
    private TimeSpan optimizing;
    private long batchNumber;

    /// <summary>Prepares a network for training, and moves it to the options' device.</summary>
    /// <param name="model">The network; it stays the caller's to dispose.</param>
    /// <param name="options">How it is trained; they are checked here.</param>
    public Trainer(nn.Module<Tensor, Tensor> model, TrainingOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        Devices.Require(options.Device);
        this.model = model;
        this.options = options;
        model.to(options.Device);
        stages = [.. ILearningStage.Of(model).Select(s => s.Stage).OfType<ResidualStage>()];
        type = model.parameters().FirstOrDefault(p => p.is_floating_point())?.dtype ?? ScalarType.Float32;
        modes = new(model, options);
        update = new(model, options, stages);
        average = options.AverageDecay is { } decay ? new(model, decay) : null;
    }

    /// <summary>The finished epochs.</summary>
    public IReadOnlyList<EpochMetrics> History => history;

    /// <summary>
    /// The epoch of the highest validation accuracy, the first of equal ones, from 1; null where no epoch has one.
    /// </summary>
    public int? BestEpoch => history.Where(m => m.ValidationAccuracy is not null).MaxBy(m => m.ValidationAccuracy)?.Epoch;

    /// <summary>Those that look on, told in order.</summary>
    public IList<ITrainingObserver> Observers { get; } = [];

    /// <summary>Called after each training batch, before the observers.</summary>
    public Action<TrainingProgress>? Progress { get; set; }

    /// <summary>
    /// Trains with one batch: the parameters move, unless the gradients of several batches make a step
    /// (<see cref="TrainingOptions.Accumulate"/>) and this is not the last of them.
    /// </summary>
    /// <param name="images">[B, C, H, W] on the device of the options; taken in the number type of the network's parameters.</param>
    /// <param name="labels">[B] int64.</param>
    /// <returns>Mean loss and number of correct predictions; of mixed images, a correct one is the label of the larger share.</returns>
    /// <exception cref="ResNetNodesException">One image is to be normalized at 1×1 pixels, or a stage can't run.</exception>
    /// <exception cref="DivergedException">
    /// The loss, or the norm of a gradient that is to be clipped, is not a finite number; parameters are as they were, and the batches
    /// that waited for this one are forgotten.
    /// </exception>
    public (double Loss, long Correct) TrainStep(Tensor images, Tensor labels)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(labels);
        using var alone = thread.Enter();
        average?.RequireOwnWeights();
        using var scope = NewDisposeScope();
        var start = Stopwatch.GetTimestamp();
        update.Begin();
        optimizing += Stopwatch.GetElapsedTime(start);
        var mixed = options.Mixup?.Mix(images, labels, batchNumber);
        batchNumber++;
        // To the end of the step: the way back may call modules again, which have to be as they were.
        using var guard = images.shape[0] == 1 ? new OneValueGuard(model) : null;
        try
        {
            var scores = Scores(mixed?.Images ?? images);
            var value = mixed?.Loss(options.Loss, scores) ?? options.Loss.Of(scores, labels);
            var mean = Number(value);
            if (!double.IsFinite(mean))
            {
                throw new DivergedException($"the loss is {mean}: training diverged; use a learning rate below {options.LearningRate}");
            }

            update.Add(value, labels.shape[0]);
            if (update.IsComplete)
            {
                Move();
            }

            stepping += Stopwatch.GetElapsedTime(start);
            return (mean, Correct(scores, mixed?.Larger ?? labels));
        }
        catch
        {
            update.Drop();
            throw;
        }
    }

    /// <summary>
    /// Moves the parameters by the batches that wait for others of their step; does nothing where none does. <see cref="Run"/> does so at
    /// the end of an epoch.
    /// </summary>
    /// <exception cref="DivergedException">As <see cref="TrainStep"/>.</exception>
    public void CompleteStep()
    {
        using var alone = thread.Enter();
        if (update.IsOpen)
        {
            Move();
        }
    }

    /// <summary>Loss and accuracy over a data set, in evaluation mode; every image has the same weight.</summary>
    /// <param name="loader">The images.</param>
    /// <returns>Mean loss, and accuracy as a fraction.</returns>
    public (double Loss, double Accuracy) Test(BatchLoader loader)
    {
        var evaluation = Evaluate(loader);
        return (evaluation.Loss, evaluation.Accuracy);
    }

    /// <summary>
    /// Loss, accuracy and the options' metrics over a data set, in evaluation mode, with the average of the weights where one is kept;
    /// every image has the same weight.
    /// </summary>
    /// <param name="loader">The images.</param>
    /// <returns>The results.</returns>
    /// <exception cref="ResNetNodesException">A metric gives something else than one number.</exception>
    public Evaluation Evaluate(BatchLoader loader)
    {
        ArgumentNullException.ThrowIfNull(loader);
        using var alone = thread.Enter();
        return Evaluate(loader, EvaluatedImages.Others);
    }

    /// <summary>
    /// Puts the average of the weights into the network until it is disposed, when its own come back bit for bit; without an average the
    /// network stays as it is. In between the trainer refuses to work.
    /// </summary>
    /// <returns>What puts them back.</returns>
    public IDisposable UseAverage()
    {
        using var alone = thread.Enter();
        return average?.Use() ?? NewDisposeScope();
    }

    /// <summary>Trains and tests until all epochs are done.</summary>
    /// <param name="train">Training images.</param>
    /// <param name="test">Test images.</param>
    /// <param name="finished">Called after each epoch, before its checkpoint may be written.</param>
    /// <param name="cancellation">Stops the run after the current step; an unfinished epoch does not count.</param>
    /// <param name="validation">
    /// Images that say which epoch is the best, and when the options' patience is over: apart from the test images, by which nothing is
    /// decided.
    /// </param>
    /// <exception cref="ResNetNodesException">The run was resumed, and these are not the images of its finished epochs.</exception>
    public void Run(
        BatchLoader train,
        BatchLoader test,
        Action<EpochMetrics> finished,
        CancellationToken cancellation = default,
        BatchLoader? validation = null)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(finished);
        ArgumentNullException.ThrowIfNull(test);
        using var alone = thread.Enter();
        if (options.Patience is not null && validation is null)
        {
            throw new ArgumentException("patience needs validation images: by the test images nothing is decided", nameof(validation));
        }

        var now = RunFacts.Of(options, model, RunFacts.OfData(train, test, validation));
        resumed?.Facts.RequireSame(resumed.Value.Path, now);
        data = now.Data;
        while (history.Count < options.Epochs && !IsPatienceOver)
        {
            var metrics = RunEpoch(history.Count, train, test, validation, cancellation);
            history.Add(metrics);
            Tell(observer => observer.EpochFinished(metrics));
            finished(metrics);
        }
    }

    /// <summary>Writes the state of the run after the last epoch.</summary>
    /// <param name="path">The file.</param>
    public void Save(string path)
    {
        using var alone = thread.Enter();
        average?.RequireOwnWeights();
        Checkpoint.Save(path, model, update.Optimizer, history, RunFacts.Of(options, model, data), average);
    }

    /// <summary>
    /// Writes the network alone, as it is tested: with the average of the weights where one is kept. <see cref="Checkpoint.Load"/> reads
    /// it without an optimizer.
    /// </summary>
    /// <param name="path">The file.</param>
    public void SaveNetwork(string path)
    {
        using var alone = thread.Enter();
        using var averaged = average?.Use();
        Checkpoint.Save(path, model, null, history);
    }

    /// <summary>
    /// Continues from a checkpoint that a trainer of the same options has written. There may be other epochs to come where the schedule
    /// gives the finished ones the same learning rates; <see cref="Run"/> checks that the images are the same.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ResNetNodesException">
    /// The file is missing or damaged, or belongs to another network or run; the message names what differs, and nothing has changed.
    /// </exception>
    public void Resume(string path)
    {
        using var alone = thread.Enter();
        average?.RequireOwnWeights();
        using var file = CheckpointFile.Open(path);
        var done = file.Header.History;
        var facts = file.Header.Facts;
        facts?.RequireSame(path, RunFacts.Of(options, model, null));
        facts?.RequireLength(path, done.Count, options.Schedule, options.Epochs);
        Checkpoint.Restore(path, file, model, update.Optimizer, average);
        (resumed, data) = (facts is null ? null : (path, facts), facts?.Data);
        history.Clear();
        history.AddRange(done);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        update.Dispose();
        average?.Dispose();
    }

    private static double Number(Tensor value)
    {
        using var guard = no_grad();
        return value.to(ScalarType.Float64).item<double>();
    }

    private static long Correct(Tensor scores, Tensor labels)
    {
        using var guard = no_grad();
        return scores.argmax(1).eq(labels).sum().item<long>();
    }

    private void Move()
    {
        var start = Stopwatch.GetTimestamp();
        update.Complete();
        average?.Update();
        optimizing += Stopwatch.GetElapsedTime(start);
    }

    private void Tell(Action<ITrainingObserver> what)
    {
        // As they are now: one may come or go while they are told.
        foreach (var observer in Observers.ToList())
        {
            what(observer);
        }
    }

    private Evaluation Evaluate(BatchLoader loader, EvaluatedImages which)
    {
        using var averaged = average?.Use();
        using var guard = no_grad();
        var (total, right, count) = (0.0, 0L, 0L);
        var sums = new double[options.Metrics.Count];
        model.eval();
        try
        {
            foreach (var batch in loader.Epoch(0))
            {
                using var scope = NewDisposeScope();
                using (batch)
                {
                    var (images, labels) = batch.On(options.Device);
                    var scores = model.call(images.to(type));
                    total += Number(options.Loss.Of(scores, labels)) * batch.Count;
                    right += Correct(scores, labels);
                    count += batch.Count;
                    foreach (var (i, metric) in options.Metrics.Index())
                    {
                        sums[i] += Number(metric.Of(scores, labels));
                    }
                }
            }
        }
        finally
        {
            modes.Train();
        }

        return new(
            history.Count, which, total / count, (double)right / count,
            options.Metrics.Zip(sums).ToDictionary(pair => pair.First.Name, pair => pair.Second / count));
    }

    private Tensor Scores(Tensor images)
    {
        try
        {
            return model.call(images.to(type));
        }
        catch (Exception exception) when (OneValueGuard.IsMeantBy(exception))
        {
            throw OneValueGuard.Refusal(exception);
        }
    }

    private EpochMetrics RunEpoch(
        int epoch, BatchLoader train, BatchLoader test, BatchLoader? validation, CancellationToken cancellation)
    {
        modes.Train();
        update.Drop();
        var rate = options.LearningRate;
        MemoryProbe.ResetPeak();
        var (total, right, count, step) = (0.0, 0L, 0L, 0);
        var (inStages, kept, replayed) = (0.0, 0L, 0L);
        double? stateError = null, error = null;
        var waited = train.Waited;
        (stepping, optimizing) = (TimeSpan.Zero, TimeSpan.Zero);
        var clock = Stopwatch.StartNew();
        foreach (var batch in train.Epoch(epoch))
        {
            using var scope = NewDisposeScope();
            using (batch)
            {
                cancellation.ThrowIfCancellationRequested();
                rate = SetRate(epoch, step, train.BatchCount);
                var (images, labels) = batch.On(options.Device);
                var (mean, correct) = TrainStep(images, labels);
                (total, right, count) = (total + (mean * batch.Count), right + correct, count + batch.Count);
                foreach (var report in stages.Select(s => s.LastReport).OfType<StageReport>())
                {
                    stateError = Largest(stateError, report.Error);
                    error = Largest(error, report.ReconstructionError);
                    kept += report.Count(StateSource.Kept);
                    replayed += report.Count(StateSource.Replayed);
                    inStages += report.ForwardSeconds + report.BackwardSeconds;
                }

                var progress = new TrainingProgress(epoch + 1, ++step, train.BatchCount, mean)
                {
                    LearningRate = rate,
                    HasMoved = !update.IsOpen,
                    GradientNorm = update.GradientNorm,
                };
                Progress?.Invoke(progress);
                Tell(observer => observer.StepFinished(progress));
            }
        }

        CompleteStep();

        var seconds = clock.Elapsed.TotalSeconds;
        var peak = MemoryProbe.PeakBytesOn(options.Device);
        var (tested, validated) = (
            Evaluate(test, EvaluatedImages.Test) with { Epoch = epoch + 1 },
            validation is null ? null : Evaluate(validation, EvaluatedImages.Validation) with { Epoch = epoch + 1 });
        Tell(observer => observer.Evaluated(tested));
        if (validated is not null)
        {
            Tell(observer => observer.Evaluated(validated));
        }

        return new EpochMetrics(
            epoch + 1, total / count, (double)right / count, tested.Loss, tested.Accuracy, rate, seconds,
            (train.Waited - waited).TotalSeconds / seconds, stepping.TotalSeconds / seconds, inStages / seconds,
            optimizing.TotalSeconds / seconds, peak, stateError,
            (double)kept / step, (double)replayed / step, error)
        {
            ValidationLoss = validated?.Loss,
            ValidationAccuracy = validated?.Accuracy,
        };
    }

    private bool IsPatienceOver => history.Count - BestEpoch >= options.Patience;

    // A step's rate is set before the first of its batches.
    private double SetRate(int epoch, int batch, int batches)
    {
        batchNumber = ((long)epoch * batches) + batch;
        var steps = (batches + options.Accumulate - 1) / options.Accumulate;
        var factor = options.Schedule.Factor(epoch, options.Epochs, batch / options.Accumulate, steps);
        update.SetRates(factor);
        return options.LearningRate * factor;
    }

    private static double? Largest(double? one, double? other) => one > other ? one : other ?? one;
}
