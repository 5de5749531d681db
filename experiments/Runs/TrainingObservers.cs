using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Planning;
using ResNetNodes.Training;
using TorchSharp;
using TorchSharp.Modules;

namespace ResNetNodes.Experiments.Runs;

/// <summary>Writes checkpoint.bin, metrics.csv, and best.bin: the network of the best epoch, as it was tested.</summary>
internal sealed class TrainingFiles(RunFolder folder, Trainer trainer) : ITrainingObserver
{
    public const string CheckpointName = "checkpoint.bin";
    private const string BestName = "best.bin", MetricsName = "metrics.csv";

    public void SaveDue()
    {
        // First: of a run that is ended in between, the epoch is trained again, to the same network.
        if (trainer.StepsOfEpoch == 0 && trainer.BestEpoch == trainer.History.Count)
        {
            trainer.SaveNetwork(folder.NewFile(BestName));
        }

        trainer.Save(folder.NewFile(CheckpointName));
    }

    public void EpochFinished(EpochMetrics metrics) => WriteMetrics();

    public void WriteMetrics() => folder.WriteCsv(MetricsName, trainer.History);
}

/// <summary>Writes TensorBoard's events, once there is something to log: a run that fails before leaves nothing.</summary>
internal sealed class TensorBoardLog(RunFolder folder) : ITrainingObserver
{
    private SummaryWriter? writer;

    public void EpochFinished(EpochMetrics metrics)
    {
        writer ??= Writer();
        Add("loss/train", metrics.TrainLoss);
        Add("loss/test", metrics.TestLoss);
        Add("accuracy/train", metrics.TrainAccuracy);
        Add("accuracy/test", metrics.TestAccuracy);
        if (metrics.ValidationAccuracy is { } accuracy)
        {
            Add("loss/validation", metrics.ValidationLoss!.Value);
            Add("accuracy/validation", accuracy);
        }

        Add("reconstruction/state_error", metrics.StateError ?? 0);
        Add("reconstruction/kept_states", metrics.KeptStates);

        void Add(string tag, double value) => writer.add_scalar(tag, (float)value, metrics.Epoch);
    }

    private SummaryWriter Writer()
    {
        var inner = folder.Part("tensorboard");
        inner.NewFiles("events.out.tfevents.");
        return torch.utils.tensorboard.SummaryWriter(inner.Path, createRunName: false);
    }
}

/// <summary>Tells how a training goes on.</summary>
internal sealed class TrainingNews(Terminal terminal, string name, int epochs, MemoryPlanner? planner) : ITrainingObserver
{
    private const double WarnAbove = 1e-2;
    private MemoryPlan? plan;

    public void StepFinished(TrainingProgress p)
    {
        // The last batch of an epoch may be smaller, with a plan of its own.
        if (planner is not null && (p.Step < p.Steps || p.Steps == 1) && !ReferenceEquals(plan, planner.Plan))
        {
            TellOf(plan, planner.Plan!);
            plan = planner.Plan;
        }

        terminal.Progress((double)p.Step / p.Steps, $"{name}: epoch {p.Epoch}/{epochs}, step {p.Step}/{p.Steps}, loss {p.Loss:0.000}");
    }

    public void EpochFinished(EpochMetrics metrics)
    {
        terminal.Say($"{name}: {Line(metrics)}");
        if (metrics.ReconstructionError > WarnAbove)
        {
            terminal.Warn(
                $"the reconstructed input is off by {metrics.ReconstructionError:0.0e+0}: take adaptive, corrected:k or checkpoint");
        }
    }

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

    private static string Line(EpochMetrics m) =>
        $"epoch {m.Epoch}: train loss {m.TrainLoss:0.0000}, test accuracy {m.TestAccuracy:0.0000}, "
        + (m.ValidationAccuracy is { } accuracy ? $"validation accuracy {accuracy:0.0000}, " : string.Empty)
        + $"state error {Terminal.Text(m.StateError)}, {m.KeptStates:0.#} states kept, "
        + $"{m.Seconds:0.0} s: {m.StepShare:0.0 %} in training steps ({m.StageShare:0.0 %} stages, {m.OptimizerShare:0.0 %} optimizer), "
        + $"{m.WaitedShare:0.0 %} waiting for data; peak {m.PeakBytes >> 20} MiB";
}
