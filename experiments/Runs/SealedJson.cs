using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// JSON files that results are read back from. Their last entry is the SHA-256 of all that stands before it, so that a flipped bit or a
/// cut end is never taken for a number.
/// </summary>
internal static class SealedJson
{
    /// <summary>More than any run writes into a table, a figure or JSON; a file that is longer is not ours.</summary>
    public const long MostBytes = 64 << 20;

    private const string Before = ",\n  \"sha256\": \"", After = "\"\n}\n", End = "\n}";

    private static readonly JsonSerializerOptions Options = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
    };

    /// <summary>The text of a file.</summary>
    /// <param name="value">Becomes a JSON object of at least one entry.</param>
    public static string Write<T>(T value)
    {
        var text = JsonSerializer.Serialize(value, Options);
        var body = text[..^End.Length];
        return body + Before + Digest(body) + After;
    }

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="remedy">What to do if it is damaged.</param>
    /// <exception cref="ResNetNodesException">It can't be read, is damaged, or is none of ours.</exception>
    public static T Read<T>(string path, string remedy)
    {
        string text;
        try
        {
            text = Encoding.UTF8.GetString(ReadOwn(path));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be read: {exception.Message}; {remedy}", exception);
        }

        var at = text.LastIndexOf(Before, StringComparison.Ordinal);
        if (at < 0 || text[(at + Before.Length)..] != Digest(text[..at]) + After)
        {
            throw new ResNetNodesException($"{path}: is damaged or was changed (its checksum is wrong); {remedy}");
        }

        try
        {
            return JsonSerializer.Deserialize<T>(text[..at] + End, Options) ?? throw Misshapen(path, "$", remedy);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            throw Misshapen(path, (exception as JsonException)?.Path is { Length: > 0 } where ? where : "$", remedy);
        }
    }

    /// <summary>All bytes of a file that a run wrote: never a link, which would lead to a file of someone else.</summary>
    /// <param name="path">The file.</param>
    public static byte[] ReadOwn(string path) => new FileInfo(path).LinkTarget is null
        ? RegularFile.ReadAllBytes(path, MostBytes)
        : throw new IOException("it is a link, and what it leads to may be anyone's");

    /// <summary>The failure of a file whose checksum is right, and whose content is not.</summary>
    public static ResNetNodesException Misshapen(string path, string where, string remedy) =>
        new($"{path}: {string.Concat(where.Where(c => !char.IsControl(c)))} is not as a run writes it; {remedy}");

    private static string Digest(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
