using System.Globalization;

namespace ResNetNodes.Data;

/// <summary>Messages that the readers of data files share.</summary>
internal static class DataFile
{
    public const string Again = "download it again";

    public static ResNetNodesException Bad(string path, string what, Exception? cause = null) =>
        new($"{path}: {what.ReplaceLineEndings(" ")}", cause);

    public static string Number(long value) => value.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>Whether the file or its folder, not the program, is to blame.</summary>
    public static bool IsOfTheFile(Exception exception) => exception is IOException or UnauthorizedAccessException;
}
