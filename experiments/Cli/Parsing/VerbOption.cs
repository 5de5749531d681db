using System.Reflection;
using System.Text.RegularExpressions;
using CommandLine;

namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>
/// An option as a verb offers it: where it is declared, and what the verb's attributes change about it.
/// </summary>
internal sealed partial class VerbOption(Verb verb, OptionGroup group, PropertyInfo property, OptionAttribute attribute)
{
    public string Name => attribute.LongName;

    public string ShortName => attribute.ShortName;

    public OptionGroup Group => group;

    public bool IsSwitch => property.PropertyType == typeof(bool?);

    public bool IsPresentation => property.IsDefined(typeof(PresentationAttribute));

    /// <summary>Whether a resumed run may be given it anew.</summary>
    public bool MayChange => property.IsDefined(typeof(MayChangeAttribute))
        || verb.GetType().GetCustomAttribute<MayChangeAttribute>()?.Options.Contains(Name) == true;

    public string Section => property.GetCustomAttribute<SectionAttribute>()?.Name ?? "options";

    public string MetaValue => Filled(attribute.MetaValue);

    public string HelpText => Filled(
        verb.GetType().GetCustomAttributes<MeaningAttribute>().FirstOrDefault(m => m.Option == Name)?.Text ?? attribute.HelpText);

    /// <summary>The value without any word: the verb's own default, or the group's.</summary>
    public string? Default => ValueIn(DefaultsAttribute.Of(verb.GetType()), Name) ?? attribute.Default as string;

    /// <summary>The text that the parser set; asking for it is not reading it.</summary>
    public string? Text => group.Peek(property.Name);

    public bool WasRead => group.WasRead(property.Name);

    /// <summary>Whether the text is neither the default nor the preset's.</summary>
    public bool IsChanged => Text != (ValueIn(verb.PresetOptions, Name) ?? Default);

    public void NoteRead() => group.NoteRead(property.Name);

    /// <summary>The value of an option in a list of option=value.</summary>
    public static string? ValueIn(IEnumerable<string> options, string name) =>
        options.FirstOrDefault(option => option.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..];

    private string Filled(string text) => Braces().Replace(text, match => group.Placeholder(match.Groups[1].Value)
        ?? throw new InvalidOperationException($"--{Name} of {verb.Name}: its help names {match.Value}, which its group does not know"));

    [GeneratedRegex(@"\{([a-z-]+)\}")]
    private static partial Regex Braces();
}
