namespace ResNetNodes.Experiments.Statistics;

/// <summary>Verdicts of several statements at once: true, false, or null where they can't be decided.</summary>
internal static class Verdict
{
    /// <summary>Whether all hold.</summary>
    public static bool? All(IEnumerable<bool?> verdicts)
    {
        var each = verdicts.ToList();
        return each.Contains(false) ? false : each.Contains(null) ? null : true;
    }
}
