using System.Diagnostics;
using ResNetNodes.Data;
using ResNetNodes.Distributed;
using ResNetNodes.Measuring;
using ResNetNodes.Networks;
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
    private readonly StepRanks ranks;
    private readonly List<EpochMetrics> history = [];
    private readonly Evaluator evaluator;
    private IReadOnlyList<Fact>? data;
    private NetworkDescription? described;
    private (string Path, RunFacts Facts)? resumed;
    private BegunEpoch? begun;
    private int unsaved;
    private long savedAt;
    private readonly TrainingStep steps;
    private CancellationToken stopping;
    private long batchNumber;

    /// <summary>Prepares a network for training, and moves it to the options' device.</summary>
    /// <param name="model">
    /// The network; it stays the caller's to dispose. Of a <see cref="DataParallel"/> the network inside is trained, and everything below
    /// is every rank's to call: each takes its share of every batch, results are those of all images, and after each step all ranks have
    /// the same weights.
    /// </param>
    /// <param name="options">How it is trained; they are checked here.</param>
    public Trainer(nn.Module<Tensor, Tensor> model, TrainingOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        Devices.Require(options.Device);
        var parallel = model as DataParallel;
        model = parallel?.Module ?? model;
        this.model = model;
        this.options = options;
        model.to(options.Device);
        ranks = new(parallel, model);
        modes = new(model, options);
        update = new(model, options, ranks);
        average = options.AverageDecay is { } decay ? new(model, decay) : null;
        evaluator = new(model, options, modes, average, ranks);
        steps = new(model, options, evaluator.Type, update, average, ranks);
    }

    /// <summary>The finished epochs.</summary>
    public IReadOnlyList<EpochMetrics> History => history;

    /// <summary>
    /// The epoch of the highest validation accuracy, the first of equal ones, from 1; null where no epoch has one.
    /// </summary>
    public int? BestEpoch => history.Where(m => m.ValidationAccuracy is not null).MaxBy(m => m.ValidationAccuracy)?.Epoch;

    /// <summary>Those that look on, told in order.</summary>
    public IList<ITrainingObserver> Observers { get; } = [];

    /// <summary>Training steps done of the epoch after them; 0 between two epochs.</summary>
    public int StepsOfEpoch => begun?.Steps ?? 0;

    /// <summary>Called after each training batch, before the observers.</summary>
    public Action<TrainingProgress>? Progress { get; set; }

    /// <summary>
    /// Called when <see cref="Save"/> is due, before the observers: within an epoch as <see cref="TrainingOptions.SaveSteps"/> and
    /// <see cref="TrainingOptions.SaveInterval"/> have it and when <see cref="Run"/> is cancelled, and after each epoch.
    /// </summary>
    public Action? SaveDue { get; set; }

    /// <summary>
    /// Trains with one batch: the parameters move, unless the gradients of several batches make a step
    /// (<see cref="TrainingOptions.Accumulate"/>) and this is not the last of them.
    /// </summary>
    /// <param name="images">[B, C, H, W] on the device of the options; taken in the number type of the network's parameters.</param>
    /// <param name="labels">[B] int64.</param>
    /// <returns>
    /// Mean loss and number of correct predictions, of all ranks; of mixed images, a correct one is the label of the larger share.
    /// </returns>
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
        var found = Step(images, labels);
        return (found.Loss, found.Correct);
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
            ranks.SumGradients();
            steps.Move();
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
    public EvaluationMetrics Evaluate(BatchLoader loader)
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

    /// <summary>Trains and tests until all epochs are done; goes on where it was cancelled, or where a resumed run was saved.</summary>
    /// <param name="train">Training images.</param>
    /// <param name="test">Test images.</param>
    /// <param name="finished">Called after each epoch, when <see cref="SaveDue"/> has been and the observers have been told.</param>
    /// <param name="cancellation">
    /// Stops the run after the current step, or test; what <see cref="SaveDue"/> then saves is all of it.
    /// </param>
    /// <param name="validation">
    /// Images that say which epoch is the best, and when the options' patience is over: apart from the test images, by which nothing is
    /// decided.
    /// </param>
    /// <exception cref="ResNetNodesException">The run goes on, and these are not the images that it began with.</exception>
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

        if (!ranks.IsAlone)
        {
            train.RequireShares(ranks.Size);
        }

        var now = RunFacts.Of(options, model, RunFacts.OfData(train, test, validation));
        ranks.RequireSame(now);
        resumed?.Facts.RequireSame(resumed.Value.Path, now);
        if (begun is not null)
        {
            const string here = "the epoch that was begun";
            RunFacts.Of(options, model, data).RequireSame(here, now);
            begun.RequireBatches(resumed?.Path ?? here, train.BatchCount);
        }

        (data, unsaved, savedAt, stopping) = (now.Data, 0, Stopwatch.GetTimestamp(), cancellation);
        described = NetworkDescription.Of(model)?.TrainedOn(train.Input, train.ClassNames);
        while (history.Count < options.Epochs && !IsPatienceOver)
        {
            var metrics = RunEpoch(train, test, validation);
            history.Add(metrics);
            begun = null;
            SaveNow();
            Tell(observer => observer.EpochFinished(metrics));
            finished(metrics);
        }
    }

    /// <summary>Writes the state of the run after its last step, in the middle of an epoch too. One rank's is that of all.</summary>
    /// <param name="path">The file.</param>
    public void Save(string path)
    {
        using var alone = thread.Enter();
        average?.RequireOwnWeights();
        if (update.IsOpen)
        {
            throw new ResNetNodesException(
                $"{path}: not written: some of the batches of a step have been trained with, and a checkpoint stands between two steps; "
                + "save where TrainingProgress.HasMoved says so");
        }

        begun = begun?.WithPeak(MemoryProbe.PeakBytesOn(options.Device));
        Checkpoint.Save(path, model, update.Optimizer, history, begun, RunFacts.Of(options, model, data), average, Description());
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
        Checkpoint.Save(path, model, null, history, null, null, null, Description());
    }

    /// <summary>
    /// Continues from a checkpoint that a trainer of the same options has written, in the middle of an epoch too. There may be other
    /// epochs to come where the schedule gives those that were finished or begun the same learning rates; <see cref="Run"/> checks that
    /// the images are the same.
    /// </summary>
    /// <param name="path">The file; of several ranks, rank 0's.</param>
    /// <exception cref="ResNetNodesException">
    /// The file is missing or damaged, or belongs to another network or run; the message names what differs, and nothing has changed.
    /// </exception>
    public void Resume(string path)
    {
        using var alone = thread.Enter();
        average?.RequireOwnWeights();
        ranks.Read(path, here => ResumeFrom(path, here));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        update.Dispose();
        average?.Dispose();
    }

    private bool IsPatienceOver => history.Count - BestEpoch >= options.Patience;

    // path: as messages name it; here: where it lies.
    private void ResumeFrom(string path, string here)
    {
        using var file = CheckpointFile.Open(here);
        var (done, next) = (file.Header.History, file.Header.Begun);
        var facts = file.Header.Facts;
        facts?.RequireSame(path, RunFacts.Of(options, model, null));
        facts?.RequireLength(path, done.Count, next is not null, options.Schedule, options.Epochs);
        Checkpoint.Restore(path, file, model, update.Optimizer, average);
        update.Drop();
        (resumed, data, described) = (facts is null ? null : (path, facts), facts?.Data, file.Header.Network);
        history.Clear();
        history.AddRange(done);
        begun = next;
    }

    private bool IsTimeToSave => Stopwatch.GetElapsedTime(savedAt) >= options.SaveInterval;

    private StepFigures Step(Tensor images, Tensor labels)
    {
        average?.RequireOwnWeights();
        return steps.Take(images, labels, batchNumber++, stopping.IsCancellationRequested, IsTimeToSave);
    }

    private void Tell(Action<ITrainingObserver> what)
    {
        // As they are now: one may come or go while they are told.
        foreach (var observer in Observers.ToList())
        {
            what(observer);
        }
    }

    private EvaluationMetrics Evaluate(BatchLoader loader, EvaluatedImages which) =>
        evaluator.Evaluate(loader, begun?.Epoch ?? history.Count, which);

    private EpochMetrics RunEpoch(BatchLoader train, BatchLoader test, BatchLoader? validation)
    {
        modes.Train();
        MemoryProbe.ResetPeak();
        var state = begun ?? BegunEpoch.First(history.Count + 1, train.BatchCount);
        var clock = steps.Clock = new(train);
        // Of several ranks, all end after the same step.
        var isAsked = false;
        foreach (var batch in train.Epoch(history.Count, state.Batches, ranks.TrainingShare))
        {
            using var scope = NewDisposeScope();
            StepFigures found;
            using (batch)
            {
                StopWhere(ranks.IsAlone && stopping.IsCancellationRequested);
                batchNumber = ((long)history.Count * state.BatchCount) + batch.Index;
                var rate = update.SetRate(state);
                var (images, labels) = batch.On(options.Device);
                found = Step(images, labels);
                begun = state = state.After(batch.Index, found, steps.Reports, clock.Lap());
                unsaved++;
                var progress = new TrainingProgress(state.Epoch, state.Steps, state.BatchCount, found.Loss)
                {
                    LearningRate = rate,
                    HasMoved = !update.IsOpen,
                    GradientNorm = update.GradientNorm,
                };
                Progress?.Invoke(progress);
                Tell(observer => observer.StepFinished(progress));
            }

            isAsked = ranks.IsAlone ? stopping.IsCancellationRequested : isAsked || found.IsToStop;
            StopWhere(isAsked);
            if (!update.IsOpen && (unsaved >= options.SaveSteps || (ranks.IsAlone ? IsTimeToSave : found.IsToSave)))
            {
                SaveNow();
                clock.Skip();
            }
        }

        CompleteStep();
        begun = state = (state with { Times = state.Times + clock.Lap() }).WithPeak(MemoryProbe.PeakBytesOn(options.Device));
        steps.Clock = null;
        var tested = Evaluate(test, EvaluatedImages.Test);
        var validated = validation is null ? null : Evaluate(validation, EvaluatedImages.Validation);
        Tell(observer => observer.Evaluated(tested));
        if (validated is not null)
        {
            Tell(observer => observer.Evaluated(validated));
        }

        return state.Metrics((tested.Loss, tested.Accuracy), update.RateOf(state, state.Steps - 1)) with
        {
            ValidationLoss = validated?.Loss,
            ValidationAccuracy = validated?.Accuracy,
        };
    }

    // What has been done since the last time is saved first, and a step is made whole before that.
    private void StopWhere(bool isAsked)
    {
        if (update.IsOpen || !isAsked)
        {
            return;
        }

        if (unsaved > 0)
        {
            SaveNow();
        }

        throw new OperationCanceledException(stopping);
    }

    // The network with what it was trained on, where that is known.
    private NetworkDescription? Description() => NetworkDescription.Of(model)?.TrainedOn(described?.Input, described?.ClassNames);

    private void SaveNow()
    {
        SaveDue?.Invoke();
        Tell(observer => observer.SaveDue());
        (unsaved, savedAt) = (0, Stopwatch.GetTimestamp());
    }
}
