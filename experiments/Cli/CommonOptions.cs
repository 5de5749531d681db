using CommandLine;
using ResNetNodes.Training;
using TorchSharp;

namespace ResNetNodes.Experiments.Cli;

/// <summary>The heading under which an option stands in its verb's help.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SectionAttribute(string name) : Attribute
{
    public string Name { get; } = name;
}

/// <summary>What a verb's help begins and ends with.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class PageAttribute(string source, params string[] examples) : Attribute
{
    public string Source { get; } = source;

    public IReadOnlyList<string> Examples { get; } = examples;
}

/// <summary>Options of every verb. Numbers come as text: the parser would read 0,5 as 5.</summary>
internal abstract class CommonOptions
{
    [Option("preset", MetaValue = "smoke|small|paper", HelpText = "Options set at once: smoke (under a minute), small (real data, minutes on 2 cores), paper (the paper's setting).")]
    [Section("run")]
    public string? Preset { get; set; }

    [Option('o', "out", MetaValue = "FOLDER", HelpText = "Folder of the run (default: a new one under runs/).")]
    [Section("output")]
    public string? Out { get; set; }

    [Option("json", HelpText = "One JSON object a line on standard output, in place of a table.")]
    [Section("output")]
    public bool? Json { get; set; }

    [Option("overwrite", HelpText = "Empty the folder first, if it holds an earlier run.")]
    [Section("output")]
    public bool? Overwrite { get; set; }

    [Option("resume", HelpText = "Go on with the run in the folder.")]
    [Section("output")]
    public bool? Resume { get; set; }

    [Option("config", MetaValue = "FILE", HelpText = "Options from a run's config.json; those on the command line win.")]
    [Section("output")]
    public string? Config { get; set; }

    [Option('q', "quiet", HelpText = "Warnings and errors only.")]
    [Section("output")]
    public bool? Quiet { get; set; }

    [Option('v', "verbose", HelpText = "What was chosen and why; stack traces of errors.")]
    [Section("output")]
    public bool? Verbose { get; set; }

    [Option("no-color", HelpText = "No colours.")]
    [Section("output")]
    public bool? NoColor { get; set; }

    [Option("seed", Default = "1", MetaValue = "N", HelpText = "Seed of every random draw.")]
    [Section("run")]
    public string Seed { get; set; } = "1";

    [Option("threads", MetaValue = "N", HelpText = "LibTorch's threads (default: one a core).")]
    [Section("run")]
    [MayChange]
    public string? Threads { get; set; }

    [Option("device", Default = "cpu", MetaValue = "cpu|cuda[:K]", HelpText = "Where tensors live.")]
    [Section("run")]
    public string Device { get; set; } = "cpu";

    /// <summary>A switch that was named without a value is on.</summary>
    public static bool Is(bool? option) => option == true;

    /// <summary>Sets threads and seed, and runs the verb.</summary>
    public void Start(Terminal terminal, CancellationToken cancellation)
    {
        if (Threads is not null)
        {
            torch.set_num_threads(Read.Whole("threads", Threads, 1));
        }

        // Before anything is loaded or started, in verbs too that leave the work to other processes.
        var device = FindDevice();
        if (Is(Verbose))
        {
            terminal.Say($"native engine {NativeRuntime.Version}, kernel path {NativeRuntime.ActiveKernelPath}, {torch.get_num_threads()} threads, device {device}{Chosen}");
        }

        Run(terminal, cancellation);
    }

    /// <summary>What else --verbose names on its first line.</summary>
    protected virtual string Chosen => string.Empty;

    /// <summary>The verb's work.</summary>
    protected abstract void Run(Terminal terminal, CancellationToken cancellation);

    /// <summary>The seed as a number.</summary>
    protected long SeedNumber => Read.Whole("seed", Seed, 0);

    /// <summary>The device, if this build and machine have it.</summary>
    protected virtual torch.Device FindDevice()
    {
        try
        {
            var device = Devices.Parse(Device);
            Devices.Require(device);
            return device;
        }
        catch (ArgumentException)
        {
            throw new UsageException($"--device is {Device}, expected cpu, cuda or cuda:K, K a whole number from 0");
        }
        catch (ResNetNodesException exception)
        {
            throw new ResNetNodesException($"--{exception.Message}", exception);
        }
    }
}
