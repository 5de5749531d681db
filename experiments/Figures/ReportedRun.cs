using System.Text.Json;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Figures;

/// <summary>
/// A finished run: its summary, its configuration, its folder. Runs of other people are shown too, so that nothing in them is trusted:
/// what a summary names is read only where it is a regular file of the run's own folder.
/// </summary>
internal sealed record ReportedRun(string Folder, string Name, RunSummary Summary, JsonElement Config)
{
    private const int Shift = 20;
    private const long MostBytes = 64L << Shift;

    // Every member is there and is no null, whatever the file says.
    private static readonly JsonSerializerOptions Strict = new(RunFolder.Json)
    {
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
    };

    /// <summary>Reads summary.json and config.json of a run.</summary>
    /// <param name="folder">Its folder.</param>
    /// <param name="name">What the report calls it.</param>
    /// <exception cref="ResNetNodesException">One of them is missing, damaged, or not as a run writes it.</exception>
    public static ReportedRun Open(string folder, string name)
    {
        var config = Parsed(folder, RunConfig.FileName, ReadConfig)
            ?? throw Misshapen(folder, RunConfig.FileName, "$.options");
        var summary = Parsed(folder, RunSummary.FileName, text => JsonSerializer.Deserialize<RunSummary>(text, Strict))
            ?? throw Misshapen(folder, RunSummary.FileName, "$");
        var hasNull = summary.Findings.Any(f => f is null) || summary.Figures.Concat(summary.Tables).Any(n => n is null);
        return hasNull
            ? throw Misshapen(folder, RunSummary.FileName, "one of its lists")
            : new(folder, name == "." ? summary.Verb : name, summary, config);

        // Texts are decoded when they are asked for: all of them here, where the file's name is known.
        static JsonElement? ReadConfig(string text)
        {
            var root = JsonSerializer.Deserialize<JsonElement>(text);
            var isConfig = root.ValueKind == JsonValueKind.Object
                && root.TryGetProperty("options", out var options) && options.ValueKind == JsonValueKind.Object
                && root.EnumerateObject().Concat(options.EnumerateObject()).All(member => (member.Name + member.Value).Length > 0);
            return isConfig ? root : null;
        }
    }

    /// <summary>A file that the summary names.</summary>
    /// <param name="entry">Where it names it: figures or tables.</param>
    /// <param name="name">The name.</param>
    /// <exception cref="ResNetNodesException">It is no file of this folder, or can't be read.</exception>
    public byte[] Read(string entry, string name)
    {
        var isPlain = name.Length > 0 && name is not ("." or "..") && !name.Any(c => c is '/' or '\\' || char.IsControl(c));
        if (!isPlain)
        {
            throw new ResNetNodesException(
                $"{Path.Combine(Folder, RunSummary.FileName)}: {entry} names '{OneLine(name)}', "
                + "expected the name of a file in its folder");
        }

        try
        {
            return Bytes(Folder, name);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException(
                $"{Path.Combine(Folder, name)}: is one of the {entry} of {Name}, but can't be read: {exception.Message}; "
                + "run the experiment again with --resume",
                exception);
        }
    }

    /// <summary>A text of another program as one line of a terminal shows it: what would move the cursor is left out.</summary>
    public static string OneLine(string text, int most = 200) =>
        string.Concat(text.Take(most).Select(c => char.IsControl(c) ? '?' : c));

    private static T Parsed<T>(string folder, string file, Func<string, T> parse)
    {
        try
        {
            return parse(System.Text.Encoding.UTF8.GetString(Bytes(folder, file)));
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw Misshapen(folder, file, (exception as JsonException)?.Path is { Length: > 0 } path ? path : "$", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException(
                $"{Path.Combine(folder, file)}: can't be read: {exception.Message}; run it again with --overwrite", exception);
        }
    }

    private static byte[] Bytes(string folder, string name)
    {
        var path = Path.Combine(folder, name);
        return new FileInfo(path).LinkTarget is null
            ? RegularFile.ReadAllBytes(path, MostBytes)
            : throw new IOException("it is a link, and what it leads to may be anyone's");
    }

    private static ResNetNodesException Misshapen(string folder, string file, string where, Exception? cause = null)
    {
        var message = $"{Path.Combine(folder, file)}: {OneLine(where)} is not as a run writes it; run it again with --overwrite";
        return cause is null ? new(message) : new(message, cause);
    }
}
