using System.Reflection;
using System.Runtime.CompilerServices;
using CommandLine;

namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>The heading under which an option stands in its verb's help.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SectionAttribute(string name) : Attribute
{
    public string Name { get; } = name;
}

/// <summary>
/// Where a run goes and how it is shown: no part of what it computes, so --config does not repeat it.
/// </summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class PresentationAttribute : Attribute;

/// <summary>
/// Options that belong together, declared once and composed by verbs: properties with the parser's [Option], which hold the text
/// that was given (numbers too: the parser would read 0,5 as 5), and the values that the group makes of them. Each text is read
/// through <see cref="Given"/> and its kin, which note it, so that an option that no run reads is found.
/// </summary>
internal abstract class OptionGroup
{
    private readonly Dictionary<string, object?> values = [];
    private readonly HashSet<string> read = [];

    /// <summary>What --verbose adds about the group to its first line.</summary>
    public virtual string Chosen => string.Empty;

    /// <summary>
    /// What stands for {name} in the help of the group's options: tables of the library, values that a verb allows.
    /// </summary>
    public virtual string? Placeholder(string name) => null;

    /// <summary>Applies and checks what has to be known before the verb runs.</summary>
    public virtual void Start(Verb verb)
    {
    }

    /// <summary>The options that the class declares; a verb also has those of its groups.</summary>
    public IEnumerable<(PropertyInfo Property, OptionAttribute Attribute)> Declared => GetType().GetProperties()
        .Select(property => (property, property.GetCustomAttribute<OptionAttribute>()))
        .Where(pair => pair.Item2 is not null).Select(pair => (pair.property, pair.Item2!));

    /// <summary>An option's text without noting that it was read.</summary>
    public string? Peek(string property) => values.GetValueOrDefault(property) switch
    {
        bool on => on ? "true" : "false",
        var other => (string?)other,
    };

    public bool WasRead(string property) => read.Contains(property);

    /// <summary>
    /// Notes that an option reaches the run by another way than its property: as a word for a child process.
    /// </summary>
    public void NoteRead(string property) => read.Add(property);

    /// <summary>The text of an option that has a default.</summary>
    protected string Given([CallerMemberName] string property = "") => Optional(property)
        ?? throw new InvalidOperationException($"{GetType().Name}.{property} has neither a value nor a default");

    /// <summary>The text of an option that may be left out.</summary>
    protected string? Optional([CallerMemberName] string property = "")
    {
        read.Add(property);
        return Peek(property);
    }

    /// <summary>A switch; null where it was not given.</summary>
    protected bool? Switch([CallerMemberName] string property = "")
    {
        read.Add(property);
        return (bool?)values.GetValueOrDefault(property);
    }

    /// <summary>What the parser calls.</summary>
    protected void Set(object? value, [CallerMemberName] string property = "") => values[property] = value;
}
