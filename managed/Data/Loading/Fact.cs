using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace ResNetNodes.Data;

/// <summary>Something that results depend on, as text: a number, a name, or a list such as the classes in order.</summary>
/// <param name="Name">What users call it.</param>
/// <param name="Values">One text, or one for each element of a list.</param>
internal sealed record Fact(string Name, IReadOnlyList<string> Values)
{
    private const int Longest = 60;

    /// <summary>What to do where it has changed; null: take what it was.</summary>
    [JsonIgnore]
    public string? Remedy { get; init; }

    /// <summary>The public properties of an augmentation, in order.</summary>
    public static Fact Of(string name, Augmentation value) =>
        new(
            name,
            [.. ((JsonObject)JsonSerializer.SerializeToNode(value, FactJson.Default.Augmentation)!)
                .Select(property => $"{property.Key} {property.Value?.ToJsonString() ?? "none"}")]);

    /// <summary>Which images a set has.</summary>
    public static IEnumerable<Fact> OfImages(ImageDataset data)
    {
        var counts = new int[data.Classes];
        foreach (var label in data.Labels)
        {
            counts[label]++;
        }

        return
        [
            new("data set", [data.Name]),
            new("classes", [.. counts.Select((count, c) => $"{data.ClassNames?[c] ?? $"number {c + 1}"} ({count} images)")]),
            new("SHA-256", [data.Digest ?? "unknown"]) { Remedy = "take the images that it began with" },
        ];
    }

    /// <summary>Where this and a later one differ: "the batch size was 32, here it is 64; take 32"; null where they don't.</summary>
    public string? Change(Fact later)
    {
        var most = Math.Max(Values.Count, later.Values.Count);
        var at = Enumerable.Range(0, most).FirstOrDefault(i => At(Values, i) != At(later.Values, i), -1);
        if (at < 0)
        {
            return null;
        }

        var (before, now) = Short(At(Values, at), At(later.Values, at));
        return most == 1
            ? $"the {Name} was {before}, here it is {now}; {later.Remedy ?? $"take {before}"}"
            : $"number {at + 1} of the {Name} was {before}, here it is {now}; take {before}";
    }

    private static string At(IReadOnlyList<string> values, int i) => i < values.Count ? values[i] : "none";

    // Of long texts the part where they differ.
    private static (string Before, string Now) Short(string before, string now)
    {
        var same = before.Zip(now).TakeWhile(pair => pair.First == pair.Second).Count();
        var from = Math.Max(before.Length, now.Length) > Longest ? Math.Max(0, same - (Longest / 3)) : 0;
        return (Cut(before), Cut(now));

        string Cut(string text)
        {
            var (first, end) = (Math.Min(from, text.Length), Math.Min(from + Longest, text.Length));
            return (first > 0 ? "…" : string.Empty) + text[first..end] + (end < text.Length ? "…" : string.Empty);
        }
    }
}

/// <summary>How an augmentation is written, property by property: known when this is compiled, for applications that are trimmed.</summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata, UseStringEnumConverter = true)]
[JsonSerializable(typeof(Augmentation))]
internal sealed partial class FactJson : JsonSerializerContext;
