using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Measuring;
using ResNetNodes.Planning;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// Trains a network into a folder: checkpoint.bin, metrics.csv, TensorBoard. Continues where it stopped, in the middle of an epoch too.
/// </summary>
internal sealed class TrainingRun(RunFolder folder, Terminal terminal, string name)
{
    public const string CheckpointName = "checkpoint.bin";
    private const string MetricsName = "metrics.csv";
    private const double WarnAbove = 1e-2;

    /// <summary>Trains to the options' last epoch.</summary>
    /// <param name="model">The network; its weights are those of the checkpoint, where there is one.</param>
    /// <param name="options">How it is trained.</param>
    /// <param name="train">Training images.</param>
    /// <param name="test">Test images.</param>
    /// <param name="finished">Called with each epoch's metrics.</param>
    /// <param name="cancellation">Ends the run after the current step.</param>
    /// <returns>All epochs, those of earlier starts included.</returns>
    public IReadOnlyList<EpochMetrics> Go(
        nn.Module<Tensor, Tensor> model,
        TrainingOptions options,
        BatchLoader train,
        BatchLoader test,
        Action<EpochMetrics>? finished,
        CancellationToken cancellation)
    {
        Allocator.KeepFreedMemory();
        using var trainer = new Trainer(model, options);
        if (Path.Exists(folder.File(CheckpointName)))
        {
            trainer.Resume(folder.File(CheckpointName));
            terminal.Say($"{name}: resumed {(trainer.StepsOfEpoch > 0 ? Place(trainer) : $"after epoch {trainer.History.Count}")}");
        }

        trainer.SaveDue = () => trainer.Save(folder.NewFile(CheckpointName));

        var planner = NetworkGroup.PlannerOf(model);
        MemoryPlan? plan = null;
        trainer.Progress = p =>
        {
            // The last batch of an epoch may be smaller, with a plan of its own.
            if (planner is not null && (p.Step < p.Steps || p.Steps == 1) && !ReferenceEquals(plan, planner.Plan))
            {
                TellOf(plan, planner.Plan!);
                plan = planner.Plan;
            }

            terminal.Progress(
                (double)p.Step / p.Steps, $"{name}: epoch {p.Epoch}/{options.Epochs}, step {p.Step}/{p.Steps}, loss {p.Loss:0.000}");
        };
        TorchSharp.Modules.SummaryWriter? writer = null;
        try
        {
            trainer.Run(
                train,
                test,
                metrics =>
                {
                    folder.WriteCsv(MetricsName, trainer.History);
                    Log(writer ??= Writer(), metrics);
                    finished?.Invoke(metrics);
                    terminal.Say($"{name}: {Line(metrics)}");
                    Judge(metrics);
                },
                cancellation);
        }
        catch (OperationCanceledException)
        {
            throw new InterruptedException(Place(trainer));
        }

        if (train.Skipped + test.Skipped > 0)
        {
            terminal.Warn(
                $"{name}: {train.Skipped} training and {test.Skipped} test images could not be decoded and were left out, "
                + "counted once an epoch");
        }

        folder.WriteCsv(MetricsName, trainer.History);
        return [.. trainer.History];
    }

    private static string Place(Trainer trainer) =>
        $"in epoch {trainer.History.Count + 1}" + (trainer.StepsOfEpoch > 0 ? $", after step {trainer.StepsOfEpoch}" : string.Empty);

    // Plans are looked at again as times are measured; most of these looks change nothing.
    private void TellOf(MemoryPlan? before, MemoryPlan now)
    {
        var changes = before is null ? [] : before.Parts.Zip(now.Parts).Where(pair => pair.First.Method != pair.Second.Method)
            .Select(pair => $"{pair.Second.Name} from {pair.First.Method} to {pair.Second.Method}").ToList();
        if (changes.Count > 0)
        {
            terminal.Say(
                $"{name}: measured times change the plan: {string.Join(", ", changes)}; {MemoryGroup.Mebibytes(now.Bytes)} of "
                + $"{MemoryGroup.Mebibytes(now.Budget)} MiB");
        }
    }

    private void Judge(EpochMetrics metrics)
    {
        if (metrics.ReconstructionError > WarnAbove)
        {
            terminal.Warn(
                $"the reconstructed input is off by {metrics.ReconstructionError:0.0e+0}: take adaptive, corrected:k or checkpoint");
        }
    }

    private static string Line(EpochMetrics m) =>
        $"epoch {m.Epoch}: train loss {m.TrainLoss:0.0000}, test accuracy {m.TestAccuracy:0.0000}, "
        + $"state error {Terminal.Text(m.StateError)}, {m.KeptStates:0.#} states kept, "
        + $"{m.Seconds:0.0} s: {m.StepShare:0.0 %} in training steps ({m.StageShare:0.0 %} stages, {m.OptimizerShare:0.0 %} optimizer), "
        + $"{m.WaitedShare:0.0 %} waiting for data; peak {m.PeakBytes >> 20} MiB";

    // Only once there is something to log: a run that fails before leaves nothing.
    private TorchSharp.Modules.SummaryWriter Writer()
    {
        var inner = folder.Part("tensorboard");
        inner.NewFiles("events.out.tfevents.");
        return utils.tensorboard.SummaryWriter(inner.Path, createRunName: false);
    }

    private static void Log(TorchSharp.Modules.SummaryWriter writer, EpochMetrics metrics)
    {
        writer.add_scalar("loss/train", (float)metrics.TrainLoss, metrics.Epoch);
        writer.add_scalar("loss/test", (float)metrics.TestLoss, metrics.Epoch);
        writer.add_scalar("accuracy/train", (float)metrics.TrainAccuracy, metrics.Epoch);
        writer.add_scalar("accuracy/test", (float)metrics.TestAccuracy, metrics.Epoch);
        writer.add_scalar("reconstruction/state_error", (float)(metrics.StateError ?? 0), metrics.Epoch);
        writer.add_scalar("reconstruction/kept_states", (float)metrics.KeptStates, metrics.Epoch);
    }
}
