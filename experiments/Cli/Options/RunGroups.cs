using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Training;
using TorchSharp;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>The seed of every random draw.</summary>
internal sealed class SeedGroup : OptionGroup
{
    [Option("seed", Default = "1", MetaValue = "N", HelpText = "Seed of every random draw, from 0 to 2147483647.")]
    [Section("run")]
    public string Text { get => Given(); set => Set(value); }

    public long Number => Read.Whole("seed", Text);
}

/// <summary>Several seeds: a run each.</summary>
internal sealed class SeedsGroup : OptionGroup
{
    [Option("seeds", Default = "1", MetaValue = "S,S,...", HelpText = "Seeds of every random draw, a run each.")]
    [Section("run")]
    public string Text { get => Given(); set => Set(value); }

    public IReadOnlyList<int> Numbers => Read.Wholes("seeds", Text);
}

/// <summary>How many runs go on at a time.</summary>
internal sealed class JobsGroup : OptionGroup
{
    [Option('j', "jobs", Default = "1", MetaValue = "N", HelpText = "Runs at a time, which share the cores; under mpirun, of each rank.")]
    [Section("run")]
    [MayChange]
    public string Text { get => Given(); set => Set(value); }

    public int Number => Read.Whole("jobs", Text);
}

/// <summary>How much of the processor is used.</summary>
internal sealed class ThreadsGroup : OptionGroup
{
    [Option("threads", MetaValue = "N", HelpText = "Threads that LibTorch uses (default: one a core).")]
    [Section("run")]
    [MayChange]
    public string? Text { get => Optional(); set => Set(value); }

    public override void Start(Verb verb)
    {
        if (Text is { } text)
        {
            torch.set_num_threads(Read.Whole("threads", text));
        }
    }
}

/// <summary>Where tensors live.</summary>
internal sealed class DeviceGroup : OptionGroup
{
    [Option("device", Default = "cpu", MetaValue = "cpu|cuda[:K]", HelpText =
        "Device to compute on.")]
    [Section("run")]
    public string Text { get => Given(); set => Set(value); }

    /// <summary>The device, if this build and machine have it.</summary>
    public torch.Device Value => Find(Text);

    /// <summary>The device, for a check that is no use of it.</summary>
    public torch.Device Peeked => Find(Peek(nameof(Text))!);

    public override string Chosen => $", device {Peeked}";

    /// <summary>Before anything is loaded or started, in verbs too that leave the work to other processes.</summary>
    public override void Start(Verb verb) => _ = Peeked;

    private static torch.Device Find(string text)
    {
        try
        {
            var device = Devices.Parse(text);
            Devices.Require(device);
            return device;
        }
        catch (ArgumentException)
        {
            throw new UsageException($"--device is {text}, expected cpu, cuda or cuda:K, K a whole number from 0");
        }
        catch (ResNetNodesException exception)
        {
            throw new ResNetNodesException($"--{exception.Message}", exception);
        }
    }
}
