using System.Reflection;
using ResNetNodes.Experiments.Cli;

namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>What a verb's help begins and ends with.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class PageAttribute(string source, params string[] examples) : Attribute
{
    public string Source { get; } = source;

    /// <summary>Commands that work when pasted, and how long they take: the one place for a verb's times.</summary>
    public IReadOnlyList<string> Examples { get; } = examples;
}

/// <summary>
/// The figure, table or section of the paper that a verb reproduces, and its place in the verb reproduce.
/// </summary>
/// <param name="name">Such as "figure 3b"; stands in summary.json and in the report.</param>
/// <param name="order">By length, so that the first results are there soon; 0: not part of reproduce.</param>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class PaperRowAttribute(string name, int order) : Attribute
{
    public string Name { get; } = name;

    public int Order { get; } = order;
}

/// <summary>A verb whose work several processes share, started by mpirun.</summary>
/// <param name="sharesRuns">Whether they share out the runs that it is made of; otherwise they train one network.</param>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class RankedAttribute(bool sharesRuns = false) : Attribute
{
    public bool SharesRuns { get; } = sharesRuns;
}

/// <summary>The records that a verb writes with --json and to CSV; its help lists their keys.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class JsonRowsAttribute(params Type[] rows) : Attribute
{
    public IReadOnlyList<Type> Rows { get; } = rows;
}

/// <summary>Options that --preset sets at once; those named on the command line or in a --config win.</summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
internal sealed class PresetAttribute(string name, params string[] options) : Attribute
{
    /// <summary>
    /// smoke: under a minute; small: real data, minutes on 2 cores; paper: the paper's setting; paper-imagenet: where
    /// it has two.
    /// </summary>
    public static readonly IReadOnlyList<string> Names = ["smoke", "small", "paper", "paper-imagenet"];

    public string Name { get; } = name;

    /// <summary>Each as option=value.</summary>
    public IReadOnlyList<string> Options { get; } = options;

    /// <summary>What the help says of a preset that is no list of options.</summary>
    public string? Summary { get; init; }

    /// <summary>A verb's presets, the smallest first.</summary>
    public static IReadOnlyList<PresetAttribute> All(Type verb) =>
        [.. verb.GetCustomAttributes<PresetAttribute>().OrderBy(preset => Names.ToList().IndexOf(preset.Name))];

    public static IReadOnlyList<string> Of(Type verb, string name)
    {
        var own = All(verb);
        return own.FirstOrDefault(preset => preset.Name == name)?.Options ?? throw new UsageException(
            $"--preset is {name}, expected {Suggestion.List(own.Select(preset => preset.Name))}"
            + Suggestion.Hint(name, own.Select(preset => preset.Name)));
    }
}

/// <summary>Defaults of a verb that differ from those of its groups.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class DefaultsAttribute(params string[] options) : Attribute
{
    /// <summary>Each as option=value.</summary>
    public IReadOnlyList<string> Options { get; } = options;

    public static IReadOnlyList<string> Of(Type verb) => verb.GetCustomAttribute<DefaultsAttribute>()?.Options ?? [];
}

/// <summary>What an option of a group means to this verb, where the group's own text is too general.</summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
internal sealed class MeaningAttribute(string option, string text) : Attribute
{
    public string Option { get; } = option;

    public string Text { get; } = text;
}

/// <summary>
/// Options that a resumed run may be given anew, since they do not change what was computed before: of an option itself, or the
/// names of those of a verb.
/// </summary>
[AttributeUsage(AttributeTargets.Property | AttributeTargets.Class)]
internal sealed class MayChangeAttribute(params string[] options) : Attribute
{
    public IReadOnlyList<string> Options { get; } = options;
}
