using System.Reflection;

namespace ResNetNodes.Experiments.Cli;

/// <summary>Options that --preset sets at once; those named on the command line or in a --config win.</summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
internal sealed class PresetAttribute(string name, params string[] options) : Attribute
{
    /// <summary>smoke: under a minute; small: real data, minutes on 2 cores; paper: the paper's setting.</summary>
    public static readonly IReadOnlyList<string> Names = ["smoke", "small", "paper"];

    public string Name { get; } = name;

    /// <summary>Each as option=value.</summary>
    public IReadOnlyList<string> Options { get; } = options;

    public static IReadOnlyList<string> Of(Type verb, string name) =>
        verb.GetCustomAttributes<PresetAttribute>().FirstOrDefault(preset => preset.Name == name)?.Options
            ?? throw new UsageException($"--preset is {name}, expected {string.Join(", ", Names)}{Nearest.Hint(name, Names)}");
}

/// <summary>Defaults of a verb that differ from those of the options it inherits.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class DefaultsAttribute(params string[] options) : Attribute
{
    /// <summary>Each as option=value.</summary>
    public IReadOnlyList<string> Options { get; } = options;

    public static IReadOnlyList<string> Of(Type verb) => verb.GetCustomAttribute<DefaultsAttribute>()?.Options ?? [];
}
