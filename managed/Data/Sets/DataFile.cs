using System.Globalization;

namespace ResNetNodes.Data;

/// <summary>Messages that the readers of data files share.</summary>
internal static class DataFile
{
    public const string Again = "download it again";

    /// <summary>A failure in one line, whatever is in the file's name.</summary>
    public static ResNetNodesException Bad(string path, string what, Exception? cause = null) =>
        new($"{OneLine.Of(path)}: {OneLine.Of(what.ReplaceLineEndings(" "))}", cause);

    public static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A name out of a file, as a message can hold it: of some length, without control characters.</summary>
    public static string Shown(string name)
    {
        const int most = 80;
        var clean = OneLine.Of(name);
        return clean.Length <= most ? clean : $"{clean[..(most / 2)]}…{clean[^(most / 2)..]}";
    }

    /// <summary>Whether the file or its folder, not the program, is to blame.</summary>
    public static bool IsOfTheFile(Exception exception) => exception is IOException or UnauthorizedAccessException;
}
