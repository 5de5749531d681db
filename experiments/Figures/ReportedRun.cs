using System.Security.Cryptography;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// A finished run: its summary, its configuration, its folder. Runs of other people are shown too, so that nothing in them is trusted:
/// what a summary names is read only where it is a regular file of the run's own folder, with the content that the run wrote.
/// </summary>
internal sealed record ReportedRun(string Folder, string Name, RunSummary Summary, RunConfig Config)
{
    private const int MostShown = 200;
    private const string Again = "run it again with --overwrite";

    /// <summary>Reads summary.json and config.json of a run.</summary>
    /// <param name="folder">Its folder.</param>
    /// <param name="name">What the report calls it.</param>
    /// <exception cref="ResNetNodesException">One of them is missing, damaged, or not as a run writes it.</exception>
    public static ReportedRun Open(string folder, string name)
    {
        var config = RunConfig.Read(folder, Again);
        var file = Path.Combine(folder, RunSummary.FileName);
        var summary = SealedJson.Read<RunSummary>(file, Again);
        var hasNull = summary.Findings.Any(f => f is null) || summary.Figures.Any(f => f is null)
            || summary.Tables.Any(n => n is null);
        return hasNull
            ? throw SealedJson.Misshapen(file, "one of its lists", Again)
            : new(folder, name == "." ? summary.Verb : name, summary, config);
    }

    /// <summary>A file that the summary names.</summary>
    /// <param name="entry">Where it names it: figures or tables.</param>
    /// <param name="name">The name.</param>
    /// <exception cref="ResNetNodesException">It is no file of this folder, was changed, or can't be read.</exception>
    public byte[] Read(string entry, string name)
    {
        var isPlain = name.Length > 0 && name is not ("." or "..") && !name.Any(c => c is '/' or '\\' || char.IsControl(c));
        if (!isPlain)
        {
            throw new ResNetNodesException(
                $"{Path.Combine(Folder, RunSummary.FileName)}: {entry} names '{OneLine.Of(name, MostShown)}', "
                + "expected the name of a file in its folder");
        }

        var path = Path.Combine(Folder, name);
        try
        {
            var bytes = SealedJson.ReadOwn(path);
            return Convert.ToHexStringLower(SHA256.HashData(bytes)) == Summary.Digests.GetValueOrDefault(name)
                ? bytes
                : throw new ResNetNodesException(
                    $"{path}: is not what the run wrote (its checksum is another in {RunSummary.FileName}); "
                    + "run the experiment again with --resume");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException(
                $"{path}: is one of the {entry} of {Name}, but can't be read: {exception.Message}; "
                + "run the experiment again with --resume",
                exception);
        }
    }
}
