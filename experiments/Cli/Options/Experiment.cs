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

    /// <summary>Before anything is made: a wrong number leaves no folder, even where only a child would read it.</summary>
    public override void Start(Verb verb)
    {
        foreach (var option in verb.Options)
        {
            Limits.Check(option);
        }
    }
}
