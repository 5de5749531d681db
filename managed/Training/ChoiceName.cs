namespace ResNetNodes.Training;

/// <summary>Names that users give to what a checkpoint can't hold, a function: a run goes on with one of the same name alone.</summary>
internal static class ChoiceName
{
    private const int Longest = 60;

    /// <summary>Refuses what is no name, or that of something else.</summary>
    /// <param name="name">The name.</param>
    /// <param name="what">Whose.</param>
    /// <param name="taken">Names of the library's own.</param>
    /// <exception cref="ArgumentException">It is none.</exception>
    public static void Require(string name, string what, params IReadOnlyList<string> taken)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name.Length is 0 or > Longest || !char.IsAsciiLetter(name[0])
            || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-'))
        {
            throw new ArgumentException(
                $"a {what} can't be called '{name}': expected a letter, then letters, digits, points and hyphens, at most {Longest}");
        }

        if (taken.Contains(name, StringComparer.OrdinalIgnoreCase))
        {
            throw new ArgumentException($"a {what} of one's own can't be called '{name}', which is the library's; take another name");
        }
    }
}
