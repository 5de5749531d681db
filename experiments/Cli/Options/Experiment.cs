using ResNetNodes.Experiments.Cli.Parsing;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>A verb that computes something and shows it: the groups that all of these have.</summary>
internal abstract class Computation : Verb
{
    public ThreadsGroup Threads { get; } = new();

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

/// <summary>One that leaves what it has computed in a folder, and has settings of options.</summary>
internal abstract class Experiment : Computation
{
    protected Experiment() => Preset = new PresetGroup(GetType());

    public PresetGroup Preset { get; }

    public FolderGroup Folder { get; } = new();
}
