namespace ResNetNodes;

/// <summary>Text from outside as one line of a message: what would end the line or move the cursor shows as ?.</summary>
internal static class OneLine
{
    /// <summary>A text without control characters.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">The most characters of it.</param>
    public static string Of(string text, int most = int.MaxValue) =>
        string.Concat(text.Take(most).Select(c => char.IsControl(c) ? '?' : c));
}
