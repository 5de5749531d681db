using System.Globalization;

namespace ResNetNodes;

/// <summary>What this process may take of the machine's memory.</summary>
internal static class MachineMemory
{
    private const string Source = "/proc/meminfo";

    /// <summary>
    /// Bytes of the machine's memory, or of its container's, and of what can be swapped out. The collector counts three quarters of a
    /// container's as available.
    /// </summary>
    public static double Available { get; } = Math.Min(
        Entry("MemTotal") ?? double.PositiveInfinity, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes * 4 / 3.0) + (Entry("SwapTotal") ?? 0);

    private static double? Entry(string name)
    {
        var line = File.Exists(Source)
            ? File.ReadLines(Source).FirstOrDefault(l => l.StartsWith(name + ":", StringComparison.Ordinal))
            : null;
        return line is null
            ? null
            : 1024 * double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
