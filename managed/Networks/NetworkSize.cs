using System.Globalization;

namespace ResNetNodes.Networks;

/// <summary>
/// Blocks of the four stages of an ImageNet-style network, basic or bottleneck. A value that prints and parses itself: 18, 34, 50,
/// 101, 152, auto:n ([n, n, n, n]; bottleneck where n > 2), custom:a+b+c+d (bottleneck) or custom-basic:a+b+c+d.
/// </summary>
public sealed record NetworkSize
{
    /// <summary>The most blocks of a stage: each is built and evaluated on its own, and so many take minutes a pass.</summary>
    internal const int MostBlocks = 1 << 20;

    private const int StageCount = 4;
    private static readonly NetworkSize[] Named =
    [
        new("18", [2, 2, 2, 2], false),
        new("34", [3, 4, 6, 3], false),
        new("50", [3, 4, 6, 3], true),
        new("101", [3, 4, 23, 3], true),
        new("152", [3, 8, 36, 3], true),
    ];

    private readonly string text;

    private NetworkSize(string text, IReadOnlyList<int> blocks, bool bottleneck) =>
        (this.text, Blocks, Bottleneck) = (text, blocks, bottleneck);

    /// <summary>Blocks of each of the four stages, the first one (which changes the shape) included.</summary>
    public IReadOnlyList<int> Blocks { get; }

    /// <summary>Whether blocks are 1×1 – 3×3 – 1×1 convolutions of expansion 4, or two 3×3 ones.</summary>
    public bool Bottleneck { get; }

    /// <summary>Output channels of a block over its planes.</summary>
    internal int Expansion => Bottleneck ? 4 : 1;

    /// <summary>The paper's "auto" networks: n blocks in each stage, bottleneck where n > 2.</summary>
    /// <param name="blocks">n, from 1 to 1048576.</param>
    /// <returns>The size.</returns>
    /// <exception cref="ArgumentOutOfRangeException">n is out of that range.</exception>
    public static NetworkSize Auto(int blocks)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(blocks, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blocks, MostBlocks);
        return new($"auto:{blocks.ToString(CultureInfo.InvariantCulture)}", [blocks, blocks, blocks, blocks], blocks > 2);
    }

    /// <summary>Any four numbers.</summary>
    /// <param name="blocks">Blocks of each stage, from 1 to 1048576.</param>
    /// <param name="bottleneck">Bottleneck blocks, or basic ones.</param>
    /// <returns>The size.</returns>
    /// <exception cref="ArgumentException">Not four numbers, or one out of that range.</exception>
    public static NetworkSize Custom(IReadOnlyList<int> blocks, bool bottleneck = true)
    {
        ArgumentNullException.ThrowIfNull(blocks);
        if (blocks.Count != StageCount || !blocks.All(Fits))
        {
            throw new ArgumentException($"blocks are {string.Join('+', blocks)}, expected four numbers from 1 to {MostBlocks}");
        }

        return new(
            (bottleneck ? "custom:" : "custom-basic:") + string.Join('+', blocks.Select(b => b.ToString(CultureInfo.InvariantCulture))),
            [.. blocks],
            bottleneck);
    }

    /// <summary>Reads a size as users write it; the inverse of <see cref="ToString"/>.</summary>
    /// <param name="text">18, 34, 50, 101, 152, auto:n, custom:a+b+c+d or custom-basic:a+b+c+d.</param>
    /// <returns>The size.</returns>
    /// <exception cref="ArgumentException">The text names none.</exception>
    public static NetworkSize Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var word = text.Trim().ToLowerInvariant();
        var (kind, rest) = word.Split(':', 2) is [var k, var r] ? (k, r) : (word, string.Empty);
        var parts = rest.Split('+');
        var numbers = parts.Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : 0).ToList();
        var isWritten = kind switch { "auto" => parts.Length == 1, "custom" or "custom-basic" => parts.Length == StageCount, _ => false };
        if (isWritten && parts.All(part => part.Length > 0 && part.All(char.IsAsciiDigit)) && !numbers.All(Fits))
        {
            throw new ArgumentException(
                $"size '{text}': a stage has 1 to {MostBlocks} blocks, each of them built and evaluated on its own");
        }

        return kind switch
        {
            "auto" when isWritten && Fits(numbers[0]) => Auto(numbers[0]),
            "custom" or "custom-basic" when isWritten && numbers.All(Fits) => Custom(numbers, kind == "custom"),
            _ => Named.FirstOrDefault(size => size.text == word)
                ?? throw new ArgumentException(
                    $"size '{text}' is unknown; expected 18, 34, 50, 101, 152, auto:8, custom:3+4+10+3 or custom-basic:2+2+10+2"),
        };
    }

    /// <inheritdoc/>
    public override string ToString() => text;

    /// <summary>Equal by blocks and their kind: auto:2 is 18.</summary>
    /// <param name="other">The other.</param>
    /// <returns>Whether both build the same network.</returns>
    public bool Equals(NetworkSize? other) => other is not null && Bottleneck == other.Bottleneck && Blocks.SequenceEqual(other.Blocks);

    /// <inheritdoc/>
    public override int GetHashCode() => Blocks.Aggregate(Bottleneck ? 1 : 0, (hash, blocks) => HashCode.Combine(hash, blocks));

    private static bool Fits(int blocks) => blocks is >= 1 and <= MostBlocks;
}
