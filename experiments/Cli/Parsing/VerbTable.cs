using System.Reflection;
using CommandLine;

namespace ResNetNodes.Experiments.Cli.Parsing;

/// <summary>The verbs of a program, as a value: what finds, lists and runs verbs is handed it.</summary>
internal sealed class VerbTable(params IReadOnlyList<Type> verbs)
{
    /// <summary>All that people are to know of, in their order.</summary>
    public IEnumerable<Type> Visible => verbs.Where(verb => !verb.GetCustomAttribute<VerbAttribute>()!.Hidden);

    /// <summary>The experiments of the paper, in the order in which reproduce runs them.</summary>
    public IEnumerable<Type> Reproduced => Visible.Select(verb => (Verb: verb, verb.GetCustomAttribute<PaperRowAttribute>()?.Order))
        .Where(pair => pair.Order > 0).OrderBy(pair => pair.Order).Select(pair => pair.Verb);

    public Type Find(string word) => verbs.FirstOrDefault(verb => Verb.NameOf(verb) == word) ?? throw new UsageException(
        $"there is no verb '{word}'{Suggestion.Hint(word, Visible.Select(Verb.NameOf))} (resnet-nodes --help lists them)");

    /// <summary>A verb without options.</summary>
    public Verb New(Type verb)
    {
        var made = (Verb)Activator.CreateInstance(verb)!;
        made.Verbs = this;
        return made;
    }

    /// <summary>A verb with its options; the words are checked.</summary>
    public Verb Parse(Type type, IReadOnlyList<string> arguments)
    {
        var verb = New(type);
        var words = StrictArguments.Complete(verb, arguments);
        using var parser = new Parser(settings => (settings.HelpWriter, settings.AutoHelp, settings.AutoVersion) = (null, false, false));
        foreach (var group in verb.Options.GroupBy(option => option.Group))
        {
            var own = words.Where(word => group.Any(option => word.StartsWith($"--{option.Name}=", StringComparison.Ordinal))).ToList();
            // Of the type object: the parser asks the instance for its options.
            if (parser.ParseArguments<object>(() => group.Key, own) is not Parsed<object>)
            {
                throw new UsageException(
                    $"{verb.Name}: {string.Join(' ', own)} can't be read; see resnet-nodes help {verb.Name}");
            }
        }

        return verb;
    }
}
