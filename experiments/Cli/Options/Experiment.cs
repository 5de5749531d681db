using ResNetNodes.Experiments.Cli.Parsing;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>
/// A verb that computes something, shows it and leaves it in a folder: the groups that all of these have.
/// </summary>
internal abstract class Experiment : Verb
{
    protected Experiment() => Preset = new PresetGroup(GetType());

    public PresetGroup Preset { get; }

    public ThreadsGroup Threads { get; } = new();

    public FolderGroup Folder { get; } = new();

    public TerminalGroup Terminal { get; } = new();
}
