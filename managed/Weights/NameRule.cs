using System.Globalization;
using System.Text.RegularExpressions;

namespace ResNetNodes.Weights;

/// <summary>
/// How a kind of names here is written elsewhere. Both sides may hold placeholders: {n} stands for a whole number, {n+1} for the number
/// after it, {*} for the rest of the name. Those of one side are those of the other.
/// </summary>
/// <example><c>new NameRule("stage{s+1}.functions.{n}.{*}", "layer{s+1}.{n+1}.{*}")</c>.</example>
public sealed partial class NameRule
{
    private readonly Pattern ours, theirs;

    /// <summary>A rule, read in both directions.</summary>
    /// <param name="ours">A name here.</param>
    /// <param name="theirs">The same name elsewhere.</param>
    /// <exception cref="ArgumentException">The sides don't have the same placeholders, or one has one of them twice.</exception>
    public NameRule(string ours, string theirs)
    {
        ArgumentNullException.ThrowIfNull(ours);
        ArgumentNullException.ThrowIfNull(theirs);
        (this.ours, this.theirs, Ours, Theirs) = (new(ours), new(theirs), ours, theirs);
        if (this.ours.Names.Distinct().Count() < this.ours.Names.Count
            || !this.ours.Names.Order(StringComparer.Ordinal).SequenceEqual(this.theirs.Names.Order(StringComparer.Ordinal)))
        {
            throw new ArgumentException($"'{ours}' and '{theirs}' must have the same placeholders, each once");
        }
    }

    /// <summary>The name here.</summary>
    public string Ours { get; }

    /// <summary>The name elsewhere.</summary>
    public string Theirs { get; }

    /// <summary>A name from elsewhere as it is here; null where the rule is not about it.</summary>
    /// <param name="theirs">The name elsewhere.</param>
    /// <returns>The name here, or null.</returns>
    public string? ToOurs(string theirs) => this.theirs.Values(theirs) is { } values ? ours.With(values) : null;

    /// <summary>A name from here as it is elsewhere; null where the rule is not about it.</summary>
    /// <param name="ours">The name here.</param>
    /// <returns>The name elsewhere, or null.</returns>
    public string? ToTheirs(string ours) => this.ours.Values(ours) is { } values ? theirs.With(values) : null;

    /// <summary>Both sides.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => $"{Ours} = {Theirs}";

    [GeneratedRegex(@"\{(\*|[a-z]+)(?:\+([0-9]+))?\}")]
    private static partial Regex Placeholder();

    // A side, as a regular expression of the texts between its placeholders.
    private sealed class Pattern
    {
        private readonly List<(string Name, int Offset)> places = [];
        private readonly List<string> texts = [];
        private readonly Regex regex;

        public Pattern(string text)
        {
            var (end, expression) = (0, "^");
            foreach (Match place in Placeholder().Matches(text))
            {
                texts.Add(text[end..place.Index]);
                end = place.Index + place.Length;
                var name = place.Groups[1].Value;
                places.Add((name, place.Groups[2].Success ? int.Parse(place.Groups[2].Value, CultureInfo.InvariantCulture) : 0));
                expression += Regex.Escape(texts[^1]) + (name == "*" ? "(.+)" : "(0|[1-9][0-9]{0,8})");
            }

            texts.Add(text[end..]);
            regex = new Regex($@"{expression}{Regex.Escape(texts[^1])}\z", RegexOptions.CultureInvariant | RegexOptions.Singleline);
        }

        public IReadOnlyList<string> Names => [.. places.Select(place => place.Name)];

        /// <summary>What the placeholders stand for in a name; null where it is no name of this kind.</summary>
        public Dictionary<string, string>? Values(string name)
        {
            if (regex.Match(name) is not { Success: true } match)
            {
                return null;
            }

            var values = new Dictionary<string, string>();
            for (var i = 0; i < places.Count; i++)
            {
                var (place, offset) = places[i];
                var found = match.Groups[i + 1].Value;
                if (place != "*")
                {
                    var number = int.Parse(found, CultureInfo.InvariantCulture) - offset;
                    if (number < 0)
                    {
                        return null;
                    }

                    found = number.ToString(CultureInfo.InvariantCulture);
                }

                values[place] = found;
            }

            return values;
        }

        public string With(Dictionary<string, string> values) =>
            string.Concat(places.Select((place, i) => texts[i] + Shifted(values[place.Name], place.Offset))) + texts[^1];

        private static string Shifted(string value, int offset) =>
            offset == 0 ? value : (int.Parse(value, CultureInfo.InvariantCulture) + offset).ToString(CultureInfo.InvariantCulture);
    }
}
