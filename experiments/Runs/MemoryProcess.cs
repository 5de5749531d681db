using System.Text.Json;

namespace ResNetNodes.Experiments.Runs;

/// <summary>Memory of training steps, measured in a process of its own by a hidden verb of this program.</summary>
internal static class MemoryProcess
{
    // On the CPU, blocks of a weight's size and up return to the system as soon as they are freed: what is measured is
    // what lives,
    // not the holes of an allocator that tunes itself as it goes. On a GPU, memory is taken page by page, not in blocks
    // of 20 MB
    // that stay half empty. The same for every method.
    private static readonly (string Name, string Value)[] Environment =
    [
        ("MALLOC_MMAP_THRESHOLD_", "16384"), ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
    ];

    /// <summary>Starts the process and reads its answer.</summary>
    /// <param name="what">What an error calls it.</param>
    /// <param name="words">The verb and its options.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>The peak, and the part of it that a step adds to what rests between steps.</returns>
    public static (long PeakBytes, long StepBytes) Measure(string what, IEnumerable<string> words, CancellationToken cancellation)
    {
        var output = OwnProcess.Run(words, $"measuring {what} failed", cancellation, Environment);
        using var point = JsonDocument.Parse(output);
        return (point.RootElement.GetProperty("peak_bytes").GetInt64(), point.RootElement.GetProperty("step_bytes").GetInt64());
    }

    /// <summary>Writes the answer.</summary>
    public static void Answer(long peakBytes, long stepBytes) =>
        Console.Out.WriteLine(
            JsonSerializer.Serialize(new Dictionary<string, long> { ["peak_bytes"] = peakBytes, ["step_bytes"] = stepBytes }));
}
