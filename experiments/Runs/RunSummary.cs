using System.Security.Cryptography;
using System.Text.Json.Serialization;

namespace ResNetNodes.Experiments.Runs;

/// <summary>A claim, beside what was measured.</summary>
/// <param name="Claim">What the paper says; or what we say beyond it, which begins with "Ours".</param>
/// <param name="Measured">What this run found, with numbers.</param>
/// <param name="Holds">Whether it bears the claim out; null where it can't be decided.</param>
internal sealed record Finding(string Claim, string Measured, bool? Holds)
{
    private static readonly string[] Leads = ["Ours:", "Ours,"];

    /// <summary>The verdict as people read it.</summary>
    [JsonIgnore]
    public string Verdict => Holds switch { true => "holds", false => "does not hold", null => "can't be decided" };

    /// <summary>Whether the claim is ours, not the paper's.</summary>
    [JsonIgnore]
    public bool IsOurs => Leads.Any(lead => Claim.StartsWith(lead, StringComparison.Ordinal));

    /// <summary>The claim without the words that say whose it is.</summary>
    [JsonIgnore]
    public string Statement => IsOurs ? Claim[Leads[0].Length..].Trim() : Claim;
}

/// <summary>A figure of a run.</summary>
/// <param name="Name">The SVG file in the folder.</param>
/// <param name="Title">What it shows, in a sentence.</param>
internal sealed record ShownFigure(string Name, string Title);

/// <summary>What a finished run leaves for the report: summary.json.</summary>
/// <param name="Verb">The verb.</param>
/// <param name="Title">What was done.</param>
/// <param name="Paper">The paper's figure or table.</param>
/// <param name="Findings">What was found.</param>
/// <param name="Figures">What was drawn.</param>
/// <param name="Tables">CSV files in the folder.</param>
/// <param name="Digests">The SHA-256 of each of these files, in hexadecimal.</param>
internal sealed record RunSummary(
    string Verb,
    string Title,
    string Paper,
    IReadOnlyList<Finding> Findings,
    IReadOnlyList<ShownFigure> Figures,
    IReadOnlyList<string> Tables,
    IReadOnlyDictionary<string, string> Digests)
{
    public const string FileName = "summary.json";

    /// <summary>What stands for the paper's figure or table where it has none.</summary>
    public const string Beyond = "beyond the paper";

    public static string DigestOf(string path)
    {
        using var file = RegularFile.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }
}
