using System.Text.Json;
using ResNetNodes.Measuring;

namespace ResNetNodes.Experiments.Runs;

/// <summary>Memory of training steps.</summary>
/// <param name="PeakBytes">The process's peak.</param>
/// <param name="StepBytes">What a step adds to what rests between steps.</param>
/// <param name="Parts">What each part of the network takes of it; none where it is not made of parts.</param>
internal sealed record MeasuredMemory(long PeakBytes, long StepBytes, IReadOnlyList<PartMemory> Parts)
{
    /// <summary>What the last step was planned to take; null without a budget.</summary>
    public PlannedMemory? Plan { get; init; }
}

/// <summary>Time of a training step.</summary>
internal sealed record MeasuredTime(double StepSeconds);

/// <summary>A plan within a budget, in bytes.</summary>
internal sealed record PlannedMemory(long Bytes, long LeastBytes, long MostBytes);

/// <summary>Memory of training steps, measured in a process of its own by a hidden verb of this program.</summary>
internal static class MemoryProcess
{
    // On the CPU, blocks of a weight's size and up return to the system as soon as they are freed: what is measured is what lives, not
    // the holes of an allocator that tunes itself as it goes. On a GPU, memory is taken page by page, not in blocks of 20 MB that stay
    // half empty. The same for every method.
    private static readonly (string Name, string Value)[] Environment =
    [
        ("MALLOC_MMAP_THRESHOLD_", "16384"), ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
    ];

    private static readonly JsonSerializerOptions Format = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>Starts the process and reads its answer.</summary>
    /// <param name="what">What an error calls it.</param>
    /// <param name="words">The verb and its options.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>What it has measured.</returns>
    public static MeasuredMemory Measure(string what, IEnumerable<string> words, CancellationToken cancellation) =>
        JsonSerializer.Deserialize<MeasuredMemory>(
            OwnProcess.Run(words, $"measuring {what} failed", inOrder: false, cancellation, Environment), Format)!;

    /// <summary>The same for times: with an allocator that keeps what it is given back, as in training.</summary>
    public static MeasuredTime Time(string what, IEnumerable<string> words, CancellationToken cancellation) =>
        JsonSerializer.Deserialize<MeasuredTime>(OwnProcess.Run(words, $"timing {what} failed", inOrder: false, cancellation), Format)!;

    /// <summary>Writes the answer.</summary>
    public static void Answer(object measured) => Console.Out.WriteLine(JsonSerializer.Serialize(measured, Format));
}
