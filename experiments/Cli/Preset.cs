using System.Reflection;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Options that --preset sets at once; those named on the command line or in a --config win.</summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
internal sealed class PresetAttribute(string name, params string[] options) : Attribute
{
    /// <summary>smoke: under a minute; small: real data, minutes on 2 cores; paper: the paper's setting; paper-imagenet: where it has two.</summary>
    public static readonly IReadOnlyList<string> Names = ["smoke", "small", "paper", "paper-imagenet"];

    public string Name { get; } = name;

    /// <summary>Each as option=value.</summary>
    public IReadOnlyList<string> Options { get; } = options;

    /// <summary>A verb's presets, the smallest first.</summary>
    public static IReadOnlyList<PresetAttribute> All(Type verb) =>
        [.. verb.GetCustomAttributes<PresetAttribute>().OrderBy(preset => Names.ToList().IndexOf(preset.Name))];

    public static IReadOnlyList<string> Of(Type verb, string name)
    {
        var own = All(verb);
        return own.FirstOrDefault(preset => preset.Name == name)?.Options
            ?? throw new UsageException($"--preset is {name}, expected {string.Join(", ", own.Select(preset => preset.Name))}{Nearest.Hint(name, own.Select(preset => preset.Name))}");
    }
}

/// <summary>Defaults of a verb that differ from those of the options it inherits.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class DefaultsAttribute(params string[] options) : Attribute
{
    /// <summary>Each as option=value.</summary>
    public IReadOnlyList<string> Options { get; } = options;

    public static IReadOnlyList<string> Of(Type verb) => verb.GetCustomAttribute<DefaultsAttribute>()?.Options ?? [];
}
