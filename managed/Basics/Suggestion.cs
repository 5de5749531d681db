namespace ResNetNodes;

/// <summary>The name that a mistyped word probably stands for.</summary>
internal static class Suggestion
{
    /// <summary>What an error message about an unknown word adds.</summary>
    /// <returns>"; did you mean X?", or nothing where no name is near.</returns>
    public static string Hint(string word, IEnumerable<string> names) =>
        Nearest(word, names) is { } name ? $"; did you mean {name}?" : string.Empty;

    /// <summary>The nearest name; null where none is near.</summary>
    public static string? Nearest(string word, IEnumerable<string> names)
    {
        var best = names.Select(name => (Name: name, Distance: Distance(word, name))).OrderBy(pair => pair.Distance).FirstOrDefault();
        return best.Name is not null && best.Distance <= Math.Max(2, word.Length / 3) ? best.Name : null;
    }

    /// <summary>All names as a sentence lists them: "a, b or c".</summary>
    public static string List(IEnumerable<string> names)
    {
        var all = names.ToList();
        return all.Count < 2 ? string.Concat(all) : $"{string.Join(", ", all[..^1])} or {all[^1]}";
    }

    // Levenshtein's distance, one row at a time.
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substitute, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[^1];
    }
}
