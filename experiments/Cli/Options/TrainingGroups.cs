using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using ResNetNodes.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Images of a training step.</summary>
internal sealed class BatchGroup : OptionGroup
{
    [Option('b', "batch", Default = "128", MetaValue = "B", HelpText = "Images in a training step.")]
    [Section("training")]
    public string Text { get => Given(); set => Set(value); }

    public int Number => Read.Whole("batch", Text);
}

/// <summary>The learning rate.</summary>
internal sealed class RateGroup : OptionGroup
{
    [Option('l', "lr", Default = "0.1", MetaValue = "RATE", HelpText = "Initial learning rate.")]
    [Section("training")]
    public string Rate { get => Given(); set => Set(value); }

    public double RateNumber => Read.Number("lr", Rate);

    /// <summary>Training options with that rate.</summary>
    public TrainingOptions On(TrainingOptions options) => options with { LearningRate = RateNumber };
}

/// <summary>SGD.</summary>
internal sealed class OptimizationGroup : OptionGroup
{
    [Option("momentum", Default = "0.9", MetaValue = "M", HelpText = "Momentum of SGD.")]
    [Section("training")]
    public string Momentum { get => Given(); set => Set(value); }

    [Option("weight-decay", Default = "5e-4", MetaValue = "D", HelpText = "Weight decay.")]
    [Section("training")]
    public string WeightDecay { get => Given(); set => Set(value); }

    /// <summary>How networks are trained, as far as all verbs have it; of any rate.</summary>
    public TrainingOptions On(Device device) => new()
    {
        Optimizer = OptimizerChoice.Sgd(Read.Number("momentum", Momentum)),
        WeightDecay = Read.Number("weight-decay", WeightDecay),
        Device = device,
    };
}

/// <summary>How long is trained, and with which learning rates.</summary>
internal sealed class ScheduleGroup : OptionGroup
{
    [Option('e', "epochs", Default = "3", MetaValue = "N", HelpText = "Total number of epochs.")]
    [Section("training")]
    public string Epochs { get => Given(); set => Set(value); }

    [Option("schedule", Default = "cosine", MetaValue = "constant|cosine|thirds|steps:A+B|every:N*F", HelpText =
        "Learning rate over the epochs; over the steps as cosine@step, after a rise as warmup:5+cosine or warmup:500steps+cosine.")]
    [Section("training")]
    public string Schedule { get => Given(); set => Set(value); }

    /// <summary>Training options with epochs and schedule.</summary>
    public TrainingOptions On(TrainingOptions options) => options with
    {
        Epochs = Read.Whole("epochs", Epochs),
        Schedule = Parse(Schedule),
    };

    public override void Start(Verb verb) => Parse(Peek(nameof(Schedule))!);

    private static Training.Schedule Parse(string text) => Read.Checked("schedule", text, Training.Schedule.Parse);
}

/// <summary>How often a training is saved within an epoch; it is after each.</summary>
internal sealed class SavingGroup : OptionGroup
{
    [Option("save-steps", MetaValue = "N", HelpText =
        "Training steps after which checkpoint.bin is written within an epoch (default: by --save-minutes alone).")]
    [Section("training")]
    [MayChange]
    public string? Steps { get => Optional(); set => Set(value); }

    [Option("save-minutes", Default = "10", MetaValue = "M", HelpText =
        "Minutes after which checkpoint.bin is written within an epoch; --resume goes on from there.")]
    [Section("training")]
    [MayChange]
    public string Minutes { get => Given(); set => Set(value); }

    /// <summary>Training options that are saved so often.</summary>
    public TrainingOptions On(TrainingOptions options) => options with
    {
        SaveSteps = Steps is { } steps ? Read.Whole("save-steps", steps) : null,
        SaveInterval = TimeSpan.FromMinutes(Read.Number("save-minutes", Minutes)),
    };
}

/// <summary>Weights of a network that was trained before.</summary>
internal sealed class CheckpointGroup : OptionGroup
{
    [Option("checkpoint", MetaValue = "FILE", HelpText =
        "Weights of a trained network, instead of training one first.")]
    [Section("training")]
    public string? Path { get => Optional(); set => Set(value); }

    /// <summary>Reads the weights into a network.</summary>
    /// <param name="path">The file, as <see cref="Path"/> has it.</param>
    /// <param name="network">The network, on any device.</param>
    public static void Load(string path, nn.Module network) => NetworkFile.LoadInto(path, network);

    /// <summary>Builds the network of the file, with its weights.</summary>
    /// <param name="verb">The verb, which can't do without.</param>
    public (nn.Module<Tensor, Tensor> Network, NetworkDescription Description) Open(Verb verb) => Path is { } path
        ? NetworkFile.Load(path)
        : throw new UsageException($"{verb.Name} needs --checkpoint, the file of a trained network, such as runs/train/checkpoint.bin");
}
