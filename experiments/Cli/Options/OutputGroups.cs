using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>How results are shown.</summary>
internal sealed class TerminalGroup : OptionGroup
{
    [Option("json", HelpText = "Write one JSON object a line to standard output instead of a table.")]
    [Section("output")]
    [Presentation]
    public bool? Json { get => Switch(); set => Set(value); }

    [Option('q', "quiet", HelpText = "Show warnings and errors only.")]
    [Section("output")]
    [Presentation]
    public bool? Quiet { get => Switch(); set => Set(value); }

    [Option('v', "verbose", HelpText = "Say what was chosen and why, and show the stack traces of errors.")]
    [Section("output")]
    [Presentation]
    public bool? Verbose { get => Switch(); set => Set(value); }

    [Option("no-color", HelpText = "Write without colours.")]
    [Section("output")]
    [Presentation]
    public bool? NoColor { get => Switch(); set => Set(value); }
}

/// <summary>Where a run's files go.</summary>
internal sealed class FolderGroup : OptionGroup
{
    [Option('o', "out", MetaValue = "FOLDER", HelpText = "Folder of the run (default: a new one under runs/).")]
    [Section("output")]
    [Presentation]
    public string? Out { get => Optional(); set => Set(value); }

    [Option("overwrite", HelpText = "Remove the files of an earlier run from the folder first.")]
    [Section("output")]
    [Presentation]
    public bool? Overwrite { get => Switch(); set => Set(value); }

    [Option("resume", HelpText = "Continue the run in the folder.")]
    [Section("output")]
    [Presentation]
    public bool? Resume { get => Switch(); set => Set(value); }

    [Option("config", MetaValue = "FILE", HelpText =
        "Take options from a run's config.json; those on the command line win.")]
    [Section("output")]
    [Presentation]
    public string? Config { get => Optional(); set => Set(value); }
}

/// <summary>Options set at once.</summary>
/// <param name="verb">The verb whose presets they are.</param>
internal sealed class PresetGroup(Type verb) : OptionGroup
{
    [Option("preset", MetaValue = "{presets}", HelpText =
        "Options set at once: smoke (synthetic data, under a minute), small (real data, minutes on 2 cores), paper "
        + "(the paper's setting).")]
    [Section("run")]
    [Presentation]
    public string? Name { get => Optional(); set => Set(value); }

    public override string? Placeholder(string name) =>
        name == "presets" ? string.Join('|', PresetAttribute.All(verb).Select(preset => preset.Name)) : null;
}
