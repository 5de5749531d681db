using ResNetNodes.Measuring;
using System.Diagnostics;
using System.Text.RegularExpressions;
using ResNetNodes.Data;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// Trains a network for classification: SGD, cross-entropy, metrics, and checkpoints that resume bit for bit. Refuses a second thread.
/// </summary>
public sealed class Trainer : IDisposable
{
    private readonly SingleThread thread = new("the trainer");
    private readonly nn.Module<Tensor, Tensor> model;
    private readonly TrainingOptions options;
    private readonly MomentumSgd optimizer;
    private readonly CrossEntropyLoss loss = nn.CrossEntropyLoss();
    private readonly List<double> baseRates = [];
    private readonly List<ResidualStage> stages;
    private readonly List<EpochMetrics> history = [];
    private readonly ScalarType type;
    private IReadOnlyList<Fact>? data;
    private (string Path, RunFacts Facts)? resumed;
    private BegunEpoch? begun;
    private int unsaved;
    private long savedAt;
    private TimeSpan stepping;
    private TimeSpan optimizing;

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
        var inStages = stages.SelectMany(s => s.parameters()).Select(p => p.Handle).ToHashSet();
        var groups = model.named_parameters().Where(p => p.parameter.requires_grad).GroupBy(p => (
            Rate: options.LearningRate * (inStages.Contains(p.parameter.Handle) ? options.StageRateFactor : 1),
            Decay: options.NamedWeightDecay is { } named && Regex.IsMatch(p.name, named.Pattern)
                ? named.WeightDecay
                : options.WeightDecay)).ToList();
        if (groups.Count == 0)
        {
            throw new ArgumentException("the network has no parameter that requires a gradient: all are frozen");
        }

        optimizer = new MomentumSgd(
            groups.Select(g => new SGD.ParamGroup(g.Select(p => p.parameter), g.Key.Rate, options.Momentum, weight_decay: g.Key.Decay)),
            options.LearningRate, options.Momentum);
        baseRates.AddRange(optimizer.ParamGroups.Select(group => group.LearningRate));
    }

    /// <summary>The finished epochs.</summary>
    public IReadOnlyList<EpochMetrics> History => history;

    /// <summary>Training steps done of the epoch after them; 0 between two epochs.</summary>
    public int StepsOfEpoch => begun?.Steps ?? 0;

    /// <summary>Called after each training step.</summary>
    public Action<TrainingProgress>? Progress { get; set; }

    /// <summary>
    /// Called when <see cref="Save"/> is due: within an epoch as <see cref="TrainingOptions.SaveSteps"/> and
    /// <see cref="TrainingOptions.SaveInterval"/> have it and when <see cref="Run"/> is cancelled, and after each epoch.
    /// </summary>
    public Action? SaveDue { get; set; }

    /// <summary>One training step.</summary>
    /// <param name="images">[B, C, H, W] on the device of the options; taken in the number type of the network's parameters.</param>
    /// <param name="labels">[B] int64.</param>
    /// <returns>Mean loss and number of correct predictions.</returns>
    /// <exception cref="ResNetNodesException">One image is to be normalized at 1×1 pixels, or a stage can't run.</exception>
    /// <exception cref="DivergedException">The loss is not a finite number; the network is left as it was before the step.</exception>
    public (double Loss, long Correct) TrainStep(Tensor images, Tensor labels)
    {
        using var alone = thread.Enter();
        using var scope = NewDisposeScope();
        var start = Stopwatch.GetTimestamp();
        optimizer.zero_grad();
        optimizing += Stopwatch.GetElapsedTime(start);
        // To the end of the step: the way back may call modules again, which have to be as they were.
        using var guard = images.shape[0] == 1 ? new OneValueGuard(model) : null;
        var scores = Scores(images);
        var value = loss.call(scores, labels);
        var mean = Number(value);
        if (!double.IsFinite(mean))
        {
            throw new DivergedException($"the loss is {mean}: training diverged; use a learning rate below {options.LearningRate}");
        }

        value.BackwardThroughStages();
        var update = Stopwatch.GetTimestamp();
        optimizer.step();
        optimizing += Stopwatch.GetElapsedTime(update);
        stepping += Stopwatch.GetElapsedTime(start);
        return (mean, Correct(scores, labels));
    }

    /// <summary>Loss and accuracy over a data set, in evaluation mode; every image has the same weight.</summary>
    /// <param name="loader">The images.</param>
    /// <returns>Mean loss, and accuracy as a fraction.</returns>
    public (double Loss, double Accuracy) Test(BatchLoader loader)
    {
        ArgumentNullException.ThrowIfNull(loader);
        using var alone = thread.Enter();
        model.eval();
        using var guard = no_grad();
        var (total, right, count) = (0.0, 0L, 0L);
        foreach (var batch in loader.Epoch(0))
        {
            using var scope = NewDisposeScope();
            using (batch)
            {
                var (images, labels) = batch.On(options.Device);
                var scores = model.call(images.to(type));
                total += Number(loss.call(scores, labels)) * batch.Count;
                right += Correct(scores, labels);
                count += batch.Count;
            }
        }

        model.train();
        return (total / count, (double)right / count);
    }

    /// <summary>Trains and tests until all epochs are done; goes on where it was cancelled, or where a resumed run was saved.</summary>
    /// <param name="train">Training images.</param>
    /// <param name="test">Test images.</param>
    /// <param name="finished">Called after each epoch, when <see cref="SaveDue"/> has been.</param>
    /// <param name="cancellation">Stops the run after the current step, or the test that follows the last one.</param>
    /// <exception cref="ResNetNodesException">The run goes on, and these are not the images that it began with.</exception>
    public void Run(BatchLoader train, BatchLoader test, Action<EpochMetrics> finished, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(finished);
        ArgumentNullException.ThrowIfNull(test);
        using var alone = thread.Enter();
        var now = RunFacts.Of(options, model, RunFacts.OfData(train, test));
        resumed?.Facts.RequireSame(resumed.Value.Path, now);
        if (begun is not null)
        {
            const string here = "the epoch that was begun";
            RunFacts.Of(options, model, data).RequireSame(here, now);
            begun.RequireBatches(resumed?.Path ?? here, train.BatchCount);
        }

        (data, unsaved, savedAt) = (now.Data, 0, Stopwatch.GetTimestamp());
        while (history.Count < options.Epochs)
        {
            var metrics = RunEpoch(train, test, cancellation);
            history.Add(metrics);
            begun = null;
            SaveNow();
            finished(metrics);
        }
    }

    /// <summary>Writes the state of the run after its last step, in the middle of an epoch too.</summary>
    /// <param name="path">The file.</param>
    public void Save(string path)
    {
        using var alone = thread.Enter();
        begun = begun?.WithPeak(MemoryProbe.PeakBytesOn(options.Device));
        Checkpoint.Save(path, model, optimizer, history, begun, RunFacts.Of(options, model, data));
    }

    /// <summary>
    /// Continues from a checkpoint that a trainer of the same options has written, in the middle of an epoch too. There may be other
    /// epochs to come where the schedule gives those that were finished or begun the same learning rates; <see cref="Run"/> checks that
    /// the images are the same.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ResNetNodesException">
    /// The file is missing or damaged, or belongs to another network or run; the message names what differs, and nothing has changed.
    /// </exception>
    public void Resume(string path)
    {
        using var alone = thread.Enter();
        using var file = CheckpointFile.Open(path);
        var (done, next) = (file.Header.History, file.Header.Begun);
        var facts = file.Header.Facts;
        facts?.RequireSame(path, RunFacts.Of(options, model, null));
        facts?.RequireLength(path, done.Count, next is not null, options.Schedule, options.Epochs);
        Checkpoint.Restore(path, file, model, optimizer);
        (resumed, data) = (facts is null ? null : (path, facts), facts?.Data);
        history.Clear();
        history.AddRange(done);
        begun = next;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        optimizer.Dispose();
        loss.Dispose();
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

    private EpochMetrics RunEpoch(BatchLoader train, BatchLoader test, CancellationToken cancellation)
    {
        model.train();
        var factor = options.Schedule.Factor(history.Count, options.Epochs);
        foreach (var (group, rate) in optimizer.ParamGroups.Zip(baseRates))
        {
            group.LearningRate = rate * factor;
        }

        MemoryProbe.ResetPeak();
        var state = begun ?? BegunEpoch.First(history.Count + 1, train.BatchCount);
        var (clock, waited) = (Stopwatch.StartNew(), train.Waited);
        (stepping, optimizing) = (TimeSpan.Zero, TimeSpan.Zero);
        foreach (var batch in train.Epoch(history.Count, state.Batches))
        {
            using var scope = NewDisposeScope();
            using (batch)
            {
                StopWhere(cancellation);
                var (images, labels) = batch.On(options.Device);
                var (mean, correct) = TrainStep(images, labels);
                begun = state = state.After(batch, mean, correct, [.. stages.Select(s => s.LastReport).OfType<StageReport>()], Lap());
                unsaved++;
                Progress?.Invoke(new TrainingProgress(state.Epoch, state.Steps, state.BatchCount, mean));
            }

            StopWhere(cancellation);
            if (unsaved >= options.SaveSteps || Stopwatch.GetElapsedTime(savedAt) >= options.SaveInterval)
            {
                SaveNow();
                // Not a part of the training.
                clock.Restart();
            }
        }

        state = (state with { Times = state.Times + Lap() }).WithPeak(MemoryProbe.PeakBytesOn(options.Device));
        return state.Metrics(Test(test), options.LearningRate * factor);

        EpochTimes Lap()
        {
            var lap = new EpochTimes(
                clock.Elapsed.TotalSeconds, (train.Waited - waited).TotalSeconds, stepping.TotalSeconds, 0, optimizing.TotalSeconds);
            clock.Restart();
            (waited, stepping, optimizing) = (train.Waited, TimeSpan.Zero, TimeSpan.Zero);
            return lap;
        }
    }

    // What has been done since the last time is saved first.
    private void StopWhere(CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested && unsaved > 0)
        {
            SaveNow();
        }

        cancellation.ThrowIfCancellationRequested();
    }

    private void SaveNow()
    {
        SaveDue?.Invoke();
        (unsaved, savedAt) = (0, Stopwatch.GetTimestamp());
    }
}
