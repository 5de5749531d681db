using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Bench;

/// <summary>A training step of one method on one network; or, with no time, what a fit over the depths gives.</summary>
/// <param name="Network">One of <see cref="BenchNetwork.Names"/>.</param>
/// <param name="Planes">Channels of the state, or of the first of four stages; linear's width.</param>
/// <param name="Depth">Residual functions, of networks of one stage.</param>
/// <param name="Method">As on the command line.</param>
/// <param name="TrainSteps">Training of the weights beforehand.</param>
/// <param name="Batch">Images or rows.</param>
/// <param name="Precision">Of the residual functions.</param>
/// <param name="Size">Of networks of four stages.</param>
/// <param name="Image">Rows and columns of their images.</param>
/// <param name="Classes">Of networks that end in scores.</param>
/// <param name="Parameters">Numbers that the network learns.</param>
/// <param name="ForwardGflop">Of its forward pass, as a convolution's definition counts them.</param>
/// <param name="Rounds">Measured steps.</param>
/// <param name="StepSeconds">Their median.</param>
/// <param name="StepSecondsQ25">Their lower quartile.</param>
/// <param name="StepSecondsQ75">Their upper quartile.</param>
/// <param name="StepSecondsFastest">The shortest.</param>
/// <param name="StepSecondsSlowest">The longest.</param>
/// <param name="StageSeconds">Of a step, inside of the native engine's stages; the median.</param>
/// <param name="RatioToBackprop">The median over that of <see cref="BenchMethod.Reference"/> in the same rounds.</param>
/// <param name="EvaluationsPerLayer">Evaluations of residual functions on the way back, by layer.</param>
/// <param name="NominalGflops">Multiplications and additions as a convolution's definition counts them, over the median.</param>
/// <param name="NominalShareOfPeak">The same over the machine's best matrix product.</param>
/// <param name="OverheadShare">Of a step, what the one stage's two passes take outside of the native engine.</param>
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
    string Precision,
    string? Size,
    int? Image,
    int? Classes,
    long? Parameters = null,
    double? ForwardGflop = null,
    int? Rounds = null,
    double? StepSeconds = null,
    double? StepSecondsQ25 = null,
    double? StepSecondsQ75 = null,
    double? StepSecondsFastest = null,
    double? StepSecondsSlowest = null,
    double? StageSeconds = null,
    double? RatioToBackprop = null,
    double? EvaluationsPerLayer = null,
    double? NominalGflops = null,
    double? NominalShareOfPeak = null,
    double? OverheadShare = null,
    double? GradientError = null,
    long? PeakBytes = null,
    long? StepBytes = null,
    double? BytesPerLayer = null,
    double? TimeExponent = null,
    double? StageExponent = null)
{
    /// <summary>Whether it was measured: no fit.</summary>
    internal bool IsPoint => StepSeconds is not null;

    /// <summary>The line that it lies on.</summary>
    internal BenchSeries Series => new(Network, Planes, Classes, Image, Batch, Precision, TrainSteps);

    /// <summary>What a measured trial gives.</summary>
    public static BenchRow Of(BenchTrial trial, BenchWork work, int trainSteps, double? reference, BenchPeak peak)
    {
        var (network, median, operations) = (trial.Network, Fit.Quantile(trial.Seconds, 0.5), work.Step(trial.Parts, trial.Method));
        return new(
            network.Name, network.Planes, network.Depth, trial.Method.Name, trainSteps, network.Batch, network.Precision,
            network.Size?.ToString(), network.Image, network.Classes)
        {
            Parameters = work.Parameters,
            ForwardGflop = work.Forward(trial.Parts, trial.Method.Options.Solver) / 1e9,
            Rounds = trial.Seconds.Count,
            StepSeconds = median,
            StepSecondsQ25 = Fit.Quantile(trial.Seconds, 0.25),
            StepSecondsQ75 = Fit.Quantile(trial.Seconds, 0.75),
            StepSecondsFastest = trial.Seconds.Min(),
            StepSecondsSlowest = trial.Seconds.Max(),
            StageSeconds = trial.StageSeconds.Count > 0 ? Fit.Quantile(trial.StageSeconds, 0.5) : null,
            RatioToBackprop = median / reference,
            EvaluationsPerLayer = trial.EvaluationsPerLayer,
            NominalGflops = operations / median / 1e9,
            NominalShareOfPeak = operations / median / peak.OperationsPerSecond,
            OverheadShare = trial.OverheadSeconds / median,
        };
    }

    /// <summary>Fits over the depths, one row a method that has several.</summary>
    /// <param name="points">Of one series.</param>
    public static IEnumerable<BenchRow> Fits(IEnumerable<BenchRow> points) =>
        points.Where(p => p.Depth is not null).GroupBy(p => p.Method).Where(own => own.Count() > 1).Select(own => FitOf([.. own]));

    private static BenchRow FitOf(List<BenchRow> own)
    {
        var (line, depths) = (own[0].Series, own.Select(p => (double)p.Depth!).ToList());
        var (bytes, inStage) = (own.All(p => p.StepBytes is not null), own.All(p => p.StageSeconds is not null));
        return new BenchRow(
            line.Network, line.Planes, null, own[0].Method, line.TrainSteps, line.Batch, line.Precision, null, line.Image, line.Classes)
        {
            BytesPerLayer = bytes ? Fit.Line(depths, [.. own.Select(p => (double)p.StepBytes!)]).Slope : null,
            TimeExponent = Fit.Power(depths, own.Select(p => (double)p.StepSeconds!))?.Slope,
            StageExponent = inStage ? Fit.Power(depths, own.Select(p => (double)p.StageSeconds!))?.Slope : null,
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
