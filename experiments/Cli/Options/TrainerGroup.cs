using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>What a training step does beside SGD on batches as they come (docs/training.md).</summary>
internal class StepGroup : OptionGroup
{
    private const string Sgd = "sgd", Adam = "adamw";

    [Option("optimizer", Default = Sgd, MetaValue = $"{Sgd}|{Adam}", HelpText =
        "What moves the parameters; adamw wants a learning rate of about 1e-3.")]
    [Section("training")]
    public string Optimizer { get => Given(); set => Set(value); }

    [Option("clip", MetaValue = "NORM", HelpText = "Scale gradients of a larger norm down to this one.")]
    [Section("training")]
    public string? Clip { get => Optional(); set => Set(value); }

    [Option("accumulate", Default = "1", MetaValue = "K", HelpText = "Batches whose gradients make one step.")]
    [Section("training")]
    public string Accumulate { get => Given(); set => Set(value); }

    [Option("label-smoothing", Default = "0", MetaValue = "S", HelpText =
        "Share of a label that is spread over all classes in the loss.")]
    [Section("training")]
    public string Smoothing { get => Given(); set => Set(value); }

    [Option("mixup", MetaValue = "ALPHA", HelpText =
        "Mix training images in pairs, by shares drawn from Beta(ALPHA, ALPHA).")]
    [Section("training")]
    public string? Mixup { get => Optional(); set => Set(value); }

    [Option("freeze-norms", HelpText = "Leave the statistics of all batch normalizations as they are, and use them.")]
    [Section("training")]
    public bool? FreezeNorms { get => Switch(); set => Set(value); }

    /// <summary>Training options with all of that.</summary>
    /// <param name="options">The others.</param>
    /// <param name="seed">Of the mixing.</param>
    public virtual TrainingOptions On(TrainingOptions options, long seed) => options with
    {
        Optimizer = Read.OneOf("optimizer", Optimizer, Sgd, Adam) == Adam ? OptimizerChoice.AdamW() : options.Optimizer,
        ClipNorm = Clip is { } clip ? Read.Number("clip", clip) : null,
        Accumulate = Read.Whole("accumulate", Accumulate),
        Loss = LossFunction.CrossEntropy(Read.Number("label-smoothing", Smoothing)),
        Mixup = Mixup is { } alpha ? new(Read.Number("mixup", alpha), seed) : null,
        FreezeNorms = FreezeNorms == true,
    };

    public override void Start(Verb verb)
    {
        if (Read.OneOf("optimizer", Peek(nameof(Optimizer))!, Sgd, Adam) == Adam)
        {
            verb.Unused("momentum", $"--optimizer {Adam} has none");
        }
    }
}

/// <summary>The same, and what a whole training does.</summary>
internal sealed class TrainerGroup : StepGroup
{
    [Option("ema", MetaValue = "D", HelpText =
        "Test with an exponential moving average of the weights, of this decay.")]
    [Section("training")]
    public string? Average { get => Optional(); set => Set(value); }

    [Option("validation", MetaValue = "SHARE", HelpText =
        "Share of the training images to choose the best epoch by, whose network is best.bin.")]
    [Section("training")]
    public string? Validation { get => Optional(); set => Set(value); }

    [Option("patience", MetaValue = "N", HelpText =
        "End after so many epochs without a higher validation accuracy.")]
    [Section("training")]
    public string? Patience { get => Optional(); set => Set(value); }

    /// <summary>The share of validation images.</summary>
    public double? Share => Validation is { } text ? Read.Number("validation", text) : null;

    /// <inheritdoc/>
    public override TrainingOptions On(TrainingOptions options, long seed) => base.On(options, seed) with
    {
        AverageDecay = Average is { } decay ? Read.Number("ema", decay) : null,
        Patience = Patience is { } epochs ? Read.Whole("patience", epochs) : null,
    };

    public override void Start(Verb verb)
    {
        base.Start(verb);
        if (Peek(nameof(Patience)) is not null && Peek(nameof(Validation)) is null)
        {
            throw new UsageException("--patience needs --validation: by the test images nothing is decided");
        }
    }
}
