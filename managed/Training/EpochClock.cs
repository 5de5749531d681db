using System.Diagnostics;
using ResNetNodes.Data;

namespace ResNetNodes.Training;

/// <summary>Where the time of an epoch's steps goes, lap after lap.</summary>
/// <param name="train">Whose waiting is a part of it.</param>
internal sealed class EpochClock(BatchLoader train)
{
    private readonly Stopwatch clock = Stopwatch.StartNew();
    private TimeSpan waited = train.Waited;

    /// <summary>In training steps, of this lap.</summary>
    public TimeSpan Stepping { get; set; }

    /// <summary>In the optimizer, of this lap.</summary>
    public TimeSpan Optimizing { get; set; }

    /// <summary>Ends a lap; the next one begins.</summary>
    public EpochTimes Lap()
    {
        var lap = new EpochTimes(
            clock.Elapsed.TotalSeconds, (train.Waited - waited).TotalSeconds, Stepping.TotalSeconds, 0, Optimizing.TotalSeconds);
        clock.Restart();
        (waited, Stepping, Optimizing) = (train.Waited, TimeSpan.Zero, TimeSpan.Zero);
        return lap;
    }

    /// <summary>What has passed since the last lap is none of the training's.</summary>
    public void Skip() => clock.Restart();
}
