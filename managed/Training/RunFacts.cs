using System.Globalization;
using ResNetNodes.Data;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>What the next epochs of a run depend on besides its state: a run that goes on with others would be another one.</summary>
/// <param name="Epochs">How many there will be; more may come, where the schedule allows it.</param>
/// <param name="Run">Options and stages.</param>
/// <param name="Data">Training and test images; null where they are not known.</param>
internal sealed record RunFacts(int Epochs, IReadOnlyList<Fact> Run, IReadOnlyList<Fact>? Data)
{
    private const int MomentsOfAnEpoch = 64;

    /// <summary>Those of a trainer.</summary>
    /// <param name="options">How it trains.</param>
    /// <param name="model">What it trains.</param>
    /// <param name="data">What it trains with, if known.</param>
    public static RunFacts Of(TrainingOptions options, nn.Module model, IReadOnlyList<Fact>? data) => new(
        options.Epochs,
        [
            One("learning rate", options.LearningRate),
            .. options.Optimizer.Facts,
            One("weight decay", options.WeightDecay),
            One("named weight decay", options.NamedWeightDecay is { } named ? $"{Text(named.WeightDecay)} of {named.Pattern}" : null),
            One("stage rate factor", options.StageRateFactor),
            One("schedule", options.Schedule),
            One("loss", options.Loss),
            One("largest norm of the gradient", options.ClipNorm),
            One("number of batches of a step", options.Accumulate),
            One("decay of the average of weights", options.AverageDecay),
            One("mixup", options.Mixup is { } mixup ? $"{Text(mixup.Alpha)} with seed {mixup.Seed}" : null),
            One("freezing of batch normalizations", options.FreezeNorms ? "on" : "off"),
            One("pattern of modules in evaluation mode", options.EvaluationModules),
            One("patience", options.Patience),
            .. ILearningStage.Of(model).SelectMany(stage => OfStage(stage.Name.Length > 0 ? stage.Name : "the network", stage.Stage)),
        ],
        data);

    /// <summary>Those of a trainer's images.</summary>
    public static IReadOnlyList<Fact> OfData(BatchLoader train, BatchLoader test, BatchLoader? validation) =>
    [
        .. train.Facts.Select(fact => fact with { Name = $"{fact.Name} of the training images" }),
        .. test.Facts.Select(fact => fact with { Name = $"{fact.Name} of the test images" }),
        .. (validation?.Facts ?? []).Select(fact => fact with { Name = $"{fact.Name} of the validation images" }),
    ];

    /// <summary>Checks that a run goes on as it began. What one of both does not know is not compared.</summary>
    /// <param name="path">Where this was saved.</param>
    /// <param name="now">With what it goes on.</param>
    /// <exception cref="ResNetNodesException">Something has changed; the message names it.</exception>
    public void RequireSame(string path, RunFacts now)
    {
        if (Change(Run, now.Run) is { } inRun)
        {
            throw Refusal(path, inRun);
        }

        if (Data is not null && now.Data is not null && Change(Data, now.Data) is { } inData)
        {
            throw Refusal(path, inData);
        }
    }

    /// <summary>Checks that the finished epochs, and the one that was begun, are those of a run of another length too.</summary>
    /// <param name="path">Where this was saved.</param>
    /// <param name="finished">How many are finished.</param>
    /// <param name="begun">Whether the next one was begun.</param>
    /// <param name="schedule">Of the learning rate.</param>
    /// <param name="epochs">How many there will be.</param>
    /// <exception cref="ResNetNodesException">They are not.</exception>
    public void RequireLength(string path, int finished, bool begun, Schedule schedule, int epochs)
    {
        var all = finished + (begun ? 1 : 0);
        if (all > epochs)
        {
            var what = begun ? $"is in the middle of epoch {all}, beyond {epochs}" : $"has {finished} finished epochs, more than {epochs}";
            throw new ResNetNodesException($"{path}: {what}; take {all} epochs or more, or start a new run");
        }

        // By step at so many moments of an epoch: how many it has is not known here.
        var moments = schedule.IsByStep ? MomentsOfAnEpoch : 1;
        if (Enumerable.Range(0, all).Any(epoch => Enumerable.Range(0, moments).Any(
            m => schedule.Factor(epoch, Epochs, m, moments) != schedule.Factor(epoch, epochs, m, moments))))
        {
            var which = begun ? $"its {all} epochs, the last one begun," : $"its {all} finished {(all == 1 ? "epoch" : "epochs")}";
            throw new ResNetNodesException(
                $"{path}: {which} followed {schedule} over {Epochs} epochs, "
                + $"over {epochs} they would have had other learning rates; take {Epochs} epochs, or start a new run (under constant, "
                + "steps or every it could become longer)");
        }
    }

    private static ResNetNodesException Refusal(string path, string change) =>
        new($"{path}: belongs to another run: {change}, or start a new run");

    private static string? Change(IReadOnlyList<Fact> before, IReadOnlyList<Fact> now)
    {
        var (old, present) = (before.ToDictionary(fact => fact.Name), now.ToDictionary(fact => fact.Name));
        return old.Keys.Union(present.Keys)
            .Select(name => Of(old, name).Change(Of(present, name))).FirstOrDefault(change => change is not null);

        static Fact Of(Dictionary<string, Fact> facts, string name) => facts.GetValueOrDefault(name, new(name, ["none"]));
    }

    private static Fact[] OfStage(string name, ILearningStage stage) =>
    [
        One($"depth of {name}", stage.Depth),
        One($"solver of {name}", stage.Given.Solver),
        One($"step size of {name}", stage.Given.StepSize ?? (1.0 / stage.Depth)),
        One($"reconstruction of {name}", stage.Given.Reconstruction),
        One($"execution of {name}", stage.Execution),
        One($"compute type of {name}", stage.Given.ComputeType),
    ];

    private static Fact One(string name, object? value) => new(name, [value is null ? "none" : Text(value)]);

    private static string Text(object value) => Convert.ToString(value, CultureInfo.InvariantCulture)!;
}
