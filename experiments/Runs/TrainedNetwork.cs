using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Runs;

/// <summary>What became of a network that a run of <c>train</c> has trained.</summary>
/// <param name="Diverged">Whether its loss was no number at some step.</param>
/// <param name="Epochs">The epochs that it finished.</param>
internal sealed record TrainedNetwork(bool Diverged, IReadOnlyList<EpochMetrics> Epochs)
{
    /// <summary>Runs it, and reads what it left.</summary>
    /// <param name="path">Its folder.</param>
    /// <param name="run">Runs it.</param>
    public static TrainedNetwork Of(string path, Func<string> run)
    {
        var diverged = false;
        try
        {
            run();
        }
        catch (DivergedException)
        {
            // What a method does to the training is what is measured.
            diverged = true;
        }

        var checkpoint = Path.Combine(path, TrainingRun.CheckpointName);
        return new(diverged, File.Exists(checkpoint) ? [.. Checkpoint.ReadHistory(checkpoint)] : []);
    }

    /// <summary>"; 2 of 5 seeds diverged", or nothing where none did.</summary>
    public static string DivergedOf(IReadOnlyList<bool> seeds) =>
        seeds.Contains(true) ? $"; {seeds.Count(diverged => diverged)} of {seeds.Count} seeds diverged" : string.Empty;

    /// <summary>The best test accuracy of an epoch; of a network that diverged, that of guessing.</summary>
    public double BestAccuracy(int classes) => Diverged ? 1.0 / classes : Epochs.Max(epoch => epoch.TestAccuracy);
}
