using System.Reflection;
using CommandLine;

namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>
/// A verb of the command line: properties that are groups of options, options of its own, and its work. It has exactly the
/// options of its groups and refuses all others.
/// </summary>
internal abstract class Verb : OptionGroup
{
    private IReadOnlyList<VerbOption>? options;
    private bool hasBegun;

    /// <summary>As on the command line.</summary>
    public string Name => NameOf(GetType());

    /// <summary>All options, the verb's own first, then those of its groups in their order.</summary>
    public IReadOnlyList<VerbOption> Options => options ??=
    [
        .. Groups.SelectMany(group => group.Declared.Select(pair => new VerbOption(this, group, pair.Property, pair.Attribute))),
    ];

    /// <summary>What the chosen preset sets, each as option=value.</summary>
    public IReadOnlyList<string> PresetOptions { get; set; } = [];

    /// <summary>The options of the command line itself, each as --option=value.</summary>
    public IReadOnlyList<string> GivenWords { get; set; } = [];

    /// <summary>What words that belong to no option stand for, as the help names them; null: there are no such words.</summary>
    public virtual string? WordsName => null;

    /// <summary>Words that belong to no option.</summary>
    public IReadOnlyList<string> FreeWords { get; set; } = [];

    /// <summary>What keeps the parts of the run that are done, once there is something to keep.</summary>
    public IRunKeeper? Keeper { get; set; }

    /// <summary>What stands in front of the program's name where something has started it; such as "mpirun -n 2 ".</summary>
    public string Launcher { get; set; } = string.Empty;

    /// <summary>How a run that was ended before its time goes on; follows the words that say so.</summary>
    public string Continuation => hasBegun
        ? $"; continue with: {Launcher}resnet-nodes "
            + string.Join(' ', ((string[])[Name, .. Repeated, "--resume", $"--out={Keeper!.Path}"]).Select(Quoted))
        : "; nothing was finished yet: start it again";

    /// <summary>All verbs, for those that run or list others.</summary>
    public VerbTable Verbs { get; set; } = null!;

    public static string NameOf(Type verb) => verb.GetCustomAttribute<VerbAttribute>()!.Name;

    /// <summary>The verb itself and its groups.</summary>
    public IEnumerable<OptionGroup> Groups =>
    [
        this,
        .. GetType().GetProperties().Where(property => typeof(OptionGroup).IsAssignableFrom(property.PropertyType))
            .Select(property => (OptionGroup)property.GetValue(this)!),
    ];

    /// <summary>The verb's group of a kind; null where it has none.</summary>
    public T? Group<T>()
        where T : OptionGroup => Groups.OfType<T>().FirstOrDefault();

    /// <summary>Checks what all groups can tell beforehand.</summary>
    public void Check()
    {
        foreach (var group in Groups)
        {
            group.Start(this);
        }
    }

    /// <summary>The same, and runs the verb.</summary>
    public void Start(Terminal terminal, CancellationToken cancellation)
    {
        Check();
        terminal.Detail(() => Runtime.Describe() + string.Concat(Groups.Select(group => group.Chosen)));
        try
        {
            Run(terminal, cancellation);
        }
        catch
        {
            hasBegun = Keeper?.Abandon() == true;
            throw;
        }
        finally
        {
            Keeper?.Dispose();
        }

        var unread = Options.Where(option => !option.IsPresentation && !option.WasRead).ToList();
        terminal.Detail(() => "options that had no effect here: "
            + (unread.Count > 0 ? string.Join(", ", unread.Select(o => "--" + o.Name)) : "none"));
        foreach (var option in unread.Where(option => option.IsChanged && !IsResumed))
        {
            terminal.Warn($"--{option.Name} had no effect on this run");
        }
    }

    /// <summary>
    /// Words for a child process: every option that this verb and the child share, as it was given here, and then what this verb
    /// sets for the child. An option of a value of null is left out.
    /// </summary>
    /// <param name="child">The child's verb.</param>
    /// <param name="own">Names and values that take the place of this verb's.</param>
    public List<string> WordsFor(Type child, params IReadOnlyList<(string Name, string? Value)> own)
    {
        var known = Verbs.New(child).Options.ToDictionary(option => option.Name);
        var values = new Dictionary<string, string?>();
        foreach (var option in Options.Where(option => !option.IsPresentation && known.ContainsKey(option.Name)))
        {
            if (!own.Any(pair => pair.Name == option.Name))
            {
                option.NoteRead();
            }

            values[option.Name] = option.Text;
        }

        foreach (var (name, value) in own)
        {
            values[known[name].Name] = value;
        }

        return [NameOf(child), .. values.Where(pair => pair.Value is not null).Select(pair => $"--{pair.Key}={pair.Value}")];
    }

    /// <summary>The verb's work.</summary>
    protected abstract void Run(Terminal terminal, CancellationToken cancellation);

    /// <summary>
    /// Whether parts of the run may have been made by an earlier start, which read their options then.
    /// </summary>
    protected virtual bool IsResumed => Options.FirstOrDefault(option => option.Name == "resume")?.Text == "true";

    // All that was given, but for what --resume stands for.
    private IEnumerable<string> Repeated => GivenWords.Where(word => word.Split('=')[0] is not ("--out" or "--resume" or "--overwrite"))
        .Select(word => word.EndsWith("=true", StringComparison.Ordinal) ? word[..word.IndexOf('=')] : word);

    // As a shell reads it back.
    private static string Quoted(string word) => word.All(c => char.IsAsciiLetterOrDigit(c) || "-_=./:,+".Contains(c))
        ? word
        : $"'{word.Replace("'", @"'\''", StringComparison.Ordinal)}'";

    /// <summary>
    /// Refuses an option that was given, by the command line or a configuration, where nothing reads it.
    /// </summary>
    public void Unused(string name, string why)
    {
        var option = Options.First(o => o.Name == name);
        if (option.IsChanged)
        {
            throw new UsageException($"--{name} is {option.Text}, but {why}");
        }
    }
}
