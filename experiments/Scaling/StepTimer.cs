using System.Diagnostics;
using ResNetNodes.Distributed;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Scaling;

/// <summary>Times the steps of <see cref="StepKinds"/>: every rank does the same.</summary>
internal sealed class StepTimer : IDisposable
{
    // Until adaptive has found its states.
    private const int Settling = 10;
    private const int StepsOfRound = 3;

    private readonly DataParallel parallel;
    private readonly IReadOnlyList<ResidualStage> stages;
    private readonly Trainer shared, own;
    private readonly Tensor images, labels, oneImage, oneLabel;
    private readonly Dictionary<string, List<IReadOnlyList<double>>> rounds =
        StepKinds.All.ToDictionary(kind => kind, _ => new List<IReadOnlyList<double>>());
    private readonly List<double> backward = [], stageShares = [];
    private readonly List<IReadOnlyList<BucketStart>> starts = [];

    /// <param name="parallel">The network.</param>
    /// <param name="images">This rank's.</param>
    /// <param name="labels">Of these.</param>
    public StepTimer(DataParallel parallel, Tensor images, Tensor labels)
    {
        (this.parallel, this.images, this.labels) = (parallel, images, labels);
        (oneImage, oneLabel) = (images.narrow(0, 0, 1), labels.narrow(0, 0, 1));
        stages = NetworkGroup.StagesOf(parallel.Module);
        var options = new TrainingOptions { LearningRate = 1e-3 };
        (shared, own) = (new(parallel, options), new(parallel.Module, options));
    }

    private Communicator Ranks => parallel.Ranks;

    /// <summary>Times at least so many steps of each kind.</summary>
    public MeasuredSteps Measure(int steps, Terminal terminal, CancellationToken cancellation)
    {
        for (var i = 0; i < Settling; i++)
        {
            shared.TrainStep(images, labels);
        }

        var inRound = Math.Min(steps, StepsOfRound);
        var count = (steps + inRound - 1) / inRound;
        for (var round = 0; round < count; round++)
        {
            terminal.Progress((double)round / count, $"round {round + 1} of {count}");
            // There and back: what changes in the course of the run falls on all.
            foreach (var kind in round % 2 == 0 ? StepKinds.All : StepKinds.All.Reverse())
            {
                // All ranks end, or none.
                if (Ranks.Gather(cancellation.IsCancellationRequested ? 1 : 0).Any(asked => asked[0] > 0))
                {
                    throw new OperationCanceledException(cancellation);
                }

                rounds[kind].Add(Time(kind, inRound));
            }
        }

        return new(
            [.. StepKinds.All.Select(kind => new StepTimes(kind, rounds[kind]))], Fit.Quantile(backward, 0.5),
            [
                .. starts[^1].Select((last, i) => new ReadySum(
                    Fit.Quantile(starts.Select(step => step[i].Time.TotalSeconds), 0.5), last.Bytes)),
            ],
            Fit.Quantile(stageShares, 0.5));
    }

    public void Dispose()
    {
        shared.Dispose();
        own.Dispose();
        oneImage.Dispose();
        oneLabel.Dispose();
    }

    private IReadOnlyList<double> Time(string kind, int count) => kind switch
    {
        StepKinds.Alone => Alone(count),
        StepKinds.OneImage => Together(count, oneImage, oneLabel),
        StepKinds.Together => Together(count, images, labels),
        _ => Summed(kind, count),
    };

    private IReadOnlyList<double> Alone(int count)
    {
        Ranks.Barrier();
        var seconds = Ranks.Rank == 0 ? Steps(count, own, images, labels, () => { }, () => { }) : new double[count];
        Ranks.Barrier();
        return seconds;
    }

    // Ranks that sum up wait for the slowest in each step.
    private IReadOnlyList<double> Together(int count, Tensor images, Tensor labels)
    {
        var seconds = Steps(count, own, images, labels, Ranks.Barrier, () => { });
        if (images.shape[0] == this.images.shape[0])
        {
            // Of the last step, whose report is the latest.
            var inStages = stages.Select(stage => stage.LastReport).OfType<StageReport>().Sum(r => r.ForwardSeconds + r.BackwardSeconds);
            stageShares.Add(Math.Min(1, inStages / seconds[^1]));
        }

        var all = Ranks.Gather(seconds);
        return [.. Enumerable.Range(0, count).Select(i => all.Max(rank => rank[i]))];
    }

    private double[] Summed(string kind, int count)
    {
        // Ranks have trained by themselves in between.
        parallel.Synchronize();
        parallel.Overlap = kind == StepKinds.Overlapped;
        return Steps(count, shared, images, labels, () => { }, () =>
        {
            if (parallel.Overlap)
            {
                starts.Add(parallel.BucketStarts);
            }
            else
            {
                backward.Add(parallel.BucketStarts[0].Time.TotalSeconds);
            }
        });
    }

    // The first of them, after steps of another kind, is not timed.
    private static double[] Steps(int count, Trainer trainer, Tensor images, Tensor labels, Action before, Action after)
    {
        trainer.TrainStep(images, labels);
        var seconds = new double[count];
        for (var i = 0; i < count; i++)
        {
            before();
            var start = Stopwatch.GetTimestamp();
            trainer.TrainStep(images, labels);
            seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            after();
        }

        return seconds;
    }
}
