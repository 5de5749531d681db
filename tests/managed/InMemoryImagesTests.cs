using ResNetNodes.Data;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class InMemoryImagesTests
{
    private static readonly byte[] Bytes = [.. Enumerable.Range(0, 3 * 2 * 2).Select(i => (byte)i)];

    [Fact]
    public void Read_GivesTheBytesOfOneImage()
    {
        var images = new InMemoryImages("three", Bytes, [0, 1, 0], 1, 2, 2, 2, ["a", "b"]);
        var image = images.Read(1)!.Value;
        Assert.Equal((1, 2, 2), (image.Channels, image.Height, image.Width));
        Assert.Equal<byte>([4, 5, 6, 7], image.Values.ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => images.Read(3));
        Assert.Throws<ArgumentOutOfRangeException>(() => images.Read(-1));
    }

    [Theory]
    [InlineData(2, 2)]
    [InlineData(9, 3)]
    public void Take_KeepsTheFirst(int count, int kept)
    {
        var images = new InMemoryImages("three", Bytes, [0, 1, 0], 1, 2, 2, 2).Take(count);
        Assert.Equal(kept, images.Count);
        Assert.Equal<byte>([4, 5, 6, 7], images.Read(1)!.Value.Values.ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => images.Read(kept));
        Assert.Throws<ArgumentOutOfRangeException>(() => images.Take(0));
    }

    /// <summary>Each of these is another set; equal ones have equal digests.</summary>
    [Fact]
    public void Digest_IsOfAllThatTheSetIsMadeOf()
    {
        InMemoryImages[] sets =
        [
            new("three", Bytes, [0, 1, 0], 1, 2, 2, 2, ["a", "b"]),
            new("three", Bytes, [0, 1, 1], 1, 2, 2, 2, ["a", "b"]),
            new("three", Bytes, [0, 1, 0], 1, 4, 1, 2, ["a", "b"]),
            new("three", Bytes, [0, 1, 0], 1, 1, 4, 2, ["a", "b"]),
            new("three", Bytes, [0, 1, 0], 1, 2, 2, 2, ["b", "a"]),
            new("three", Bytes, [0, 1, 0], 1, 2, 2, 2, ["ab", ""]),
            new("three", Bytes, [0, 1, 0], 1, 2, 2, 2),
            new("three", Bytes, [0, 1, 0], 1, 2, 2, 3),
            new("three", (byte[])[1, .. Bytes[1..]], [0, 1, 0], 1, 2, 2, 2, ["a", "b"]),
        ];
        Assert.Equal(sets.Length, sets.Select(set => set.Digest).Distinct().Count());
        Assert.All(sets, set => Assert.Matches("^[0-9a-f]{64}$", set.Digest));
        Assert.Equal(sets[0].Digest, new InMemoryImages("another name", (byte[])Bytes.Clone(), [0, 1, 0], 1, 2, 2, 2, ["a", "b"]).Digest);
        Assert.Equal(sets[0].Digest, sets[0].Take(3).Digest);
        Assert.NotEqual(sets[0].Digest, sets[0].Take(2).Digest);
    }

    [Fact]
    public void Sizes_HaveToFit() =>
        Assert.Contains("12 bytes", Assert.Throws<ArgumentException>(() => new InMemoryImages("three", Bytes, [0, 1], 1, 2, 2, 2)).Message);
}
