using System.Globalization;
using System.Text.RegularExpressions;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Option values from text, exact and in range: ranges are those of <see cref="Limits"/>.</summary>
internal static partial class Read
{
    private const int MostValues = 256, MostShown = 60;
    // Each a thousand of the one before, or 1024.
    private const string Prefixes = "KMGT";

    /// <summary>A whole number in plain digits.</summary>
    /// <param name="option">Its name.</param>
    /// <param name="text">The text.</param>
    /// <param name="least">Where a verb needs more than the option's own least.</param>
    public static int Whole(string option, string text, int least = 0) => WholeOf(option, text, option, least);

    /// <summary>A whole number in the range of another option.</summary>
    public static int WholeOf(string option, string text, string ranged, int least = 0)
    {
        var limit = Limits.Of(ranged);
        limit = limit with { Least = Math.Max(limit.Least, least) };
        return Digits().IsMatch(text) && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            && limit.Holds(value) ? value : throw Misfit(option, text, limit);
    }

    /// <summary>A number with a point and an exponent, or without.</summary>
    public static double Number(string option, string text)
    {
        const NumberStyles styles = NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        var limit = Limits.Of(option);
        return Decimal().IsMatch(text) && double.TryParse(text, styles, CultureInfo.InvariantCulture, out var value)
            && limit.Holds(value) ? value : throw Misfit(option, text, limit);
    }

    /// <summary>A number of bytes: whole, or a number of a unit.</summary>
    public static long Bytes(string option, string text)
    {
        var (match, limit) = (Size().Match(text), Limits.Of(option));
        var (number, prefix) = (match.Groups["number"].Value, match.Groups["prefix"].Value.ToUpperInvariant());
        var unit = Math.Pow(match.Groups["binary"].Success ? 1024 : 1000, prefix.Length == 0 ? 0 : 1 + Prefixes.IndexOf(prefix[0]));
        return match.Success && Math.Floor(double.Parse(number, CultureInfo.InvariantCulture) * unit) is var bytes && limit.Holds(bytes)
            ? (long)bytes
            : throw Misfit(option, text, limit);
    }

    public static IReadOnlyList<int> Wholes(string option, string text, int least = 0) =>
        Several(option, text, part => Whole(option, part, least));

    public static Reconstruction Reconstruction(string option, string text) => Checked(option, text, ResNetNodes.Reconstruction.Parse);

    public static T Checked<T>(string option, string text, Func<string, T> parse)
    {
        try
        {
            return parse(text);
        }
        catch (ArgumentException exception)
        {
            var message = text.Length > 0 ? exception.Message.Replace(text, Shown(text), StringComparison.Ordinal) : exception.Message;
            throw new UsageException($"--{option}: {message}");
        }
    }

    /// <summary>A value of an enumeration, in kebab-case or any case.</summary>
    public static T Choice<T>(string option, string text)
        where T : struct, Enum
    {
        var names = Enum.GetNames<T>().Select(name => name.ToLowerInvariant()).ToList();
        var at = names.IndexOf(text.Trim().ToLowerInvariant());
        return at >= 0
            ? Enum.GetValues<T>()[at]
            : throw new UsageException($"--{option} is {Shown(text)}, expected {Suggestion.List(names)}{Suggestion.Hint(text, names)}");
    }

    /// <summary>The kind of a network of four stages, of a name that has been checked.</summary>
    public static ResNetKind Kind(string network) => network switch
    {
        "resnet" => ResNetKind.Ordinary,
        "ode" => ResNetKind.Ode,
        "torchvision" => ResNetKind.Torchvision,
        _ => ResNetKind.Tied,
    };

    public static string OneOf(string option, string text, params IReadOnlyList<string> names) => names.Contains(text)
        ? text
        : throw new UsageException($"--{option} is {Shown(text)}, expected {Suggestion.List(names)}{Suggestion.Hint(text, names)}");

    /// <summary>Values between commas, each once.</summary>
    public static IReadOnlyList<T> Several<T>(string option, string text, Func<string, T> read)
    {
        var parts = text.Split(',').Select(part => part.Trim()).ToList();
        return parts.Count > MostValues
            ? throw new UsageException($"--{option} lists {parts.Count} values, expected at most {MostValues}: each is a run of its own")
            : parts.Contains(string.Empty)
            ? throw new UsageException($"--{option} is {Shown(text)}: a value between its commas is empty")
            : [.. parts.Select(read).Distinct()];
    }

    /// <summary>A text as messages of one line show it: without control characters, and not all of a long one.</summary>
    public static string Shown(string text)
    {
        var line = OneLine.Of(text, MostShown);
        return text.Length > MostShown ? line + "…" : line;
    }

    private static UsageException Misfit(string option, string text, Limit limit) => new($"--{option} is {Shown(text)}, expected {limit}");

    // Of ASCII alone: other digits, signs and separators mean different things to different people.
    [GeneratedRegex(@"^(0|[1-9][0-9]*)\z")]
    private static partial Regex Digits();

    // In any case, but of ASCII alone: there is another K.
    [GeneratedRegex(@"^(?:(?<number>[0-9]+)[Bb]?|(?<number>[0-9]+\.?[0-9]*|\.[0-9]+) ?(?<prefix>[KMGTkmgt])(?<binary>[Ii])?[Bb])\z")]
    private static partial Regex Size();

    [GeneratedRegex(@"^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z")]
    private static partial Regex Decimal();
}
