using System.Globalization;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Option values from text, exact and in range.</summary>
internal static class Read
{
    public static int Whole(string option, string text, int least, int most = int.MaxValue) =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && value >= least && value <= most
            ? value
            : throw new UsageException(
                $"--{option} is {text}, expected a whole number from {least}" + (most < int.MaxValue ? $" to {most}" : string.Empty));

    public static double Number(string option, string text, double least, bool aboveLeast = false)
    {
        const NumberStyles styles = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        var fits = double.TryParse(text, styles, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value)
            && (aboveLeast ? value > least : value >= least);
        return fits
            ? value
            : throw new UsageException($"--{option} is {text}, expected a number {(aboveLeast ? "above" : "from")} {least}");
    }

    public static IReadOnlyList<int> Wholes(string option, string text, int least) => Several(text, part => Whole(option, part, least));

    public static Reconstruction Reconstruction(string option, string text) => Checked(option, text, ResNetNodes.Reconstruction.Parse);

    public static T Checked<T>(string option, string text, Func<string, T> parse)
    {
        try
        {
            return parse(text);
        }
        catch (ArgumentException exception)
        {
            throw new UsageException($"--{option}: {exception.Message}");
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
            : throw new UsageException($"--{option} is {text}, expected {Suggestion.List(names)}{Suggestion.Hint(text, names)}");
    }

    /// <summary>The kind of a network of four stages, of a name that has been checked.</summary>
    public static ResNetKind Kind(string network) => network switch
    {
        "resnet" => ResNetKind.Ordinary,
        "ode" => ResNetKind.Ode,
        _ => ResNetKind.Tied,
    };

    public static string OneOf(string option, string text, params IReadOnlyList<string> names) => names.Contains(text)
        ? text
        : throw new UsageException($"--{option} is {text}, expected {Suggestion.List(names)}{Suggestion.Hint(text, names)}");

    /// <summary>Values between commas, each once.</summary>
    public static IReadOnlyList<T> Several<T>(string text, Func<string, T> read) =>
        [.. text.Split(',').Select(part => read(part.Trim())).Distinct()];
}
