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

/// <summary>The file that a verb writes.</summary>
internal sealed class TargetGroup : OptionGroup
{
    [Option("to", MetaValue = "FILE", HelpText = "File to write.")]
    [Section("output")]
    public string? Text { get => Optional(); set => Set(value); }

    [Option("overwrite", HelpText = "Replace the file if it is there.")]
    [Section("output")]
    public bool? Overwrite { get => Switch(); set => Set(value); }

    /// <summary>The same where the verb can't do without.</summary>
    /// <param name="verb">The verb.</param>
    /// <param name="example">What could be given.</param>
    /// <param name="endings">What its name may end with; none: anything.</param>
    public string Required(Verb verb, string example, params IReadOnlyList<string> endings) => Path(endings)
        ?? throw new UsageException($"{verb.Name} needs --to, the file to write, such as {example}");

    /// <summary>The file, which can be written as far as that can be told; null where none was given.</summary>
    /// <param name="endings">What its name may end with; none: anything.</param>
    public string? Path(params IReadOnlyList<string> endings)
    {
        if (Text is not { } path)
        {
            return null;
        }

        if (endings.Count > 0 && !endings.Any(ending => path.EndsWith(ending, StringComparison.OrdinalIgnoreCase)))
        {
            throw new UsageException($"--to is {Read.Shown(path)}, expected a name that ends with {Suggestion.List(endings)}");
        }

        if (Directory.Exists(path))
        {
            throw new ResNetNodesException($"{path}: is a folder; name a file in it");
        }

        if (System.IO.Path.GetDirectoryName(path) is { Length: > 0 } folder && !Directory.Exists(folder))
        {
            throw new ResNetNodesException($"{path}: its folder is not there; make it first");
        }

        return Overwrite == true || !System.IO.Path.Exists(path)
            ? path
            : throw new ResNetNodesException($"{path}: is there already; take --overwrite, or another --to");
    }
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
