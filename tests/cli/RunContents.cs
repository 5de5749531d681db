using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>What a training has left in its folder, as far as two equal ones have it alike.</summary>
internal static class RunContents
{
    /// <summary>All that a checkpoint holds, without times and memory.</summary>
    public static string Checkpoint(string run)
    {
        var (header, tensors) = Read(run);
        foreach (var epoch in header["History"]!.AsArray())
        {
            foreach (var measured in epoch!.AsObject().Where(p => IsMeasured(p.Key)).Select(p => p.Key).ToList())
            {
                epoch.AsObject().Remove(measured);
            }
        }

        return header.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + Convert.ToHexString(tensors);
    }

    /// <summary>The columns of metrics.csv that say what was computed.</summary>
    public static List<string> Metrics(string run)
    {
        var rows = File.ReadAllLines(Path.Combine(run, "metrics.csv")).Select(line => line.Split(',')).ToList();
        var kept = Enumerable.Range(0, rows[0].Length).Where(i => !IsMeasured(rows[0][i])).ToList();
        return [.. rows.Select(row => string.Join(',', kept.Select(i => row[i])))];
    }

    /// <summary>Header and tensors, as docs/architecture.md has the file.</summary>
    public static (JsonNode Header, byte[] Tensors) Read(string run)
    {
        var bytes = File.ReadAllBytes(Path.Combine(run, "checkpoint.bin"));
        const int first = 25 + sizeof(long);
        Assert.Equal("ResNetNodes checkpoint 3\n", Encoding.ASCII.GetString(bytes, 0, 25));
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(25));
        return (JsonNode.Parse(bytes.AsSpan(first, length))!, bytes[(first + length)..^32]);
    }

    private static bool IsMeasured(string name) =>
        new[] { "seconds", "share", "bytes" }.Any(word => name.Contains(word, StringComparison.OrdinalIgnoreCase));
}
