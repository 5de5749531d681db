using System.Security.Cryptography;

namespace ResNetNodes.Experiments.Runs;

/// <summary>A claim of the paper, beside what was measured.</summary>
/// <param name="Claim">What the paper says.</param>
/// <param name="Measured">What this run found, with numbers.</param>
/// <param name="Holds">Whether it bears the claim out; null where this setting can't show it.</param>
internal sealed record Finding(string Claim, string Measured, bool? Holds);

/// <summary>What a finished run leaves for the report: summary.json.</summary>
/// <param name="Verb">The verb.</param>
/// <param name="Title">What was done.</param>
/// <param name="Paper">The paper's figure or table.</param>
/// <param name="Findings">What was found.</param>
/// <param name="Figures">SVG files in the folder.</param>
/// <param name="Tables">CSV files in the folder.</param>
/// <param name="Digests">The SHA-256 of each of these files, in hexadecimal.</param>
internal sealed record RunSummary(
    string Verb,
    string Title,
    string Paper,
    IReadOnlyList<Finding> Findings,
    IReadOnlyList<string> Figures,
    IReadOnlyList<string> Tables,
    IReadOnlyDictionary<string, string> Digests)
{
    public const string FileName = "summary.json";

    public static string DigestOf(string path)
    {
        using var file = RegularFile.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }
}
