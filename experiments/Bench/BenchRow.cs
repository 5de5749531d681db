using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Bench;

/// <summary>A training step of one method at one depth; or, with no depth, what a fit over the depths gives.</summary>
/// <param name="Network">tiny, bottleneck or linear.</param>
/// <param name="Planes">Channels of the state, or linear's width.</param>
/// <param name="Depth">Residual functions.</param>
/// <param name="Method">As on the command line.</param>
/// <param name="TrainSteps">Training of the weights beforehand.</param>
/// <param name="Batch">Images or rows.</param>
/// <param name="Rounds">Measured steps.</param>
/// <param name="StepSeconds">Their median.</param>
/// <param name="StepSecondsQ25">Their lower quartile.</param>
/// <param name="StepSecondsQ75">Their upper quartile.</param>
/// <param name="StageSeconds">Of a step, inside of the native engine; the median.</param>
/// <param name="RatioToBackprop">The median over that of <see cref="BenchMethod.Reference"/> in the same rounds.</param>
/// <param name="EvaluationsPerLayer">Evaluations of residual functions on the way back, by layer.</param>
/// <param name="NominalGflops">Multiplications and additions as a convolution's definition counts them, over the median.</param>
/// <param name="NominalShareOfPeak">The same over the machine's best matrix product.</param>
/// <param name="OverheadShare">Of a step, what the stage's two passes take outside of the native engine.</param>
/// <param name="GradientError">Against <see cref="BenchMethod.Reference"/>'s, in float64.</param>
/// <param name="PeakBytes">The process's peak.</param>
/// <param name="StepBytes">The peak less what rests between steps.</param>
/// <param name="BytesPerLayer">Slope of StepBytes over the depth.</param>
/// <param name="TimeExponent">p of StepSeconds ~ depth^p.</param>
/// <param name="StageExponent">p of StageSeconds ~ depth^p.</param>
internal sealed record BenchRow(
    string Network,
    int Planes,
    int? Depth,
    string Method,
    int TrainSteps,
    int Batch,
    int? Rounds,
    double? StepSeconds,
    double? StepSecondsQ25,
    double? StepSecondsQ75,
    double? StageSeconds,
    double? RatioToBackprop,
    double? EvaluationsPerLayer,
    double? NominalGflops,
    double? NominalShareOfPeak,
    double? OverheadShare,
    double? GradientError,
    long? PeakBytes,
    long? StepBytes,
    double? BytesPerLayer,
    double? TimeExponent,
    double? StageExponent)
{
    /// <summary>What a measured trial gives.</summary>
    public static BenchRow Of(BenchTrial trial, int trainSteps, double? reference, BenchPeak peak)
    {
        var median = Fit.Quantile(trial.Seconds, 0.5);
        return new(
            trial.Network.Name, trial.Network.Planes, trial.Network.Depth, trial.Method.Name, trainSteps, trial.Network.Batch,
            trial.Seconds.Count,
            median, Fit.Quantile(trial.Seconds, 0.25), Fit.Quantile(trial.Seconds, 0.75),
            trial.StageSeconds.Count > 0 ? Fit.Quantile(trial.StageSeconds, 0.5) : null, median / reference,
            trial.EvaluationsPerLayer, trial.Operations / median / 1e9, trial.Operations / median / peak.OperationsPerSecond,
            trial.OverheadSeconds / median,
            null, null, null, null, null, null);
    }

    /// <summary>Fits over the depths, one row a method that has several.</summary>
    /// <param name="points">Of one network, width and training.</param>
    public static IEnumerable<BenchRow> Series(IEnumerable<BenchRow> points) =>
        points.GroupBy(p => p.Method).Where(own => own.Count() > 1).Select(own => Fits([.. own]));

    private static BenchRow Fits(List<BenchRow> own)
    {
        var (first, depths) = (own[0], own.Select(p => (double)p.Depth!).ToList());
        var (bytes, inStage) = (own.All(p => p.StepBytes is not null), own.All(p => p.StageSeconds is not null));
        return new BenchRow(
            first.Network, first.Planes, null, first.Method, first.TrainSteps, first.Batch, null, null, null, null, null, null, null, null,
            null, null, null, null, null, null, null, null)
        {
            BytesPerLayer = bytes ? Fit.Slope(depths, [.. own.Select(p => (double)p.StepBytes!)]) : null,
            TimeExponent = Fit.Exponent(depths, own.Select(p => (double)p.StepSeconds!)),
            StageExponent = inStage ? Fit.Exponent(depths, own.Select(p => (double)p.StageSeconds!)) : null,
        };
    }
}

/// <summary>Peak memory of steps of one method.</summary>
internal sealed record BenchMemory(long PeakBytes, long StepBytes);

/// <summary>Where the time of an epoch of training goes; shares of its seconds.</summary>
internal sealed record BenchEpoch(
    string Dataset,
    int Depth,
    double Seconds,
    double StepShare,
    double StageShare,
    double OptimizerShare,
    double WaitedShare);
