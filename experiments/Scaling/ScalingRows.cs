namespace ResNetNodes.Experiments.Scaling;

/// <summary>Time of a training step: measured, and by the model where it says something of it.</summary>
/// <param name="Steps">Of <see cref="StepKinds"/>.</param>
/// <param name="Ranks">That take such steps at once.</param>
/// <param name="Threads">Of each.</param>
/// <param name="Images">Of each.</param>
/// <param name="StepSeconds">The median.</param>
/// <param name="StepSecondsQ25">A quarter of the steps are faster.</param>
/// <param name="StepSecondsQ75">A quarter of the steps are slower.</param>
/// <param name="PredictedSeconds">By the model, from the steps without sums and from sums alone.</param>
/// <param name="PredictionError">Beside the median, as a share of it.</param>
internal sealed record ScalingStepRow(
    string Steps,
    int Ranks,
    int Threads,
    int Images,
    double StepSeconds,
    double StepSecondsQ25,
    double StepSecondsQ75,
    double? PredictedSeconds,
    double? PredictionError);

/// <summary>What the sums of a step cost, and what of that the backward pass hides; ± with 95 % probability.</summary>
/// <param name="GradientBytes">Of a step.</param>
/// <param name="Buckets">In which they travel.</param>
/// <param name="CommunicationSeconds">By which a step with its sums after the backward pass is longer than one without sums.</param>
/// <param name="CommunicationSecondsError">Half of its interval; null where one round tells nothing of it.</param>
/// <param name="HiddenSeconds">By which a step with sums during the backward pass is shorter.</param>
/// <param name="HiddenSecondsError">Half of its interval.</param>
/// <param name="HiddenShare">The quotient of both; null where the first is within the noise.</param>
/// <param name="LatencySeconds">Of an exchange, from small sums.</param>
/// <param name="BytesPerSecond">That a rank sends, from a sum of a whole part.</param>
/// <param name="AddedBytesPerSecond">That a rank adds up, measured.</param>
/// <param name="ProcessorSecondsPerByte">Of a core, for each byte that a rank sends, measured.</param>
internal sealed record ScalingCommunicationRow(
    double GradientBytes,
    int Buckets,
    double CommunicationSeconds,
    double? CommunicationSecondsError,
    double HiddenSeconds,
    double? HiddenSecondsError,
    double? HiddenShare,
    double LatencySeconds,
    double? BytesPerSecond,
    double AddedBytesPerSecond,
    double ProcessorSecondsPerByte);

/// <summary>One bucket of gradients: when it was ready, since the backward pass began, and what its sum takes by the model.</summary>
internal sealed record ScalingBucketRow(int Bucket, double BucketBytes, double ReadySeconds, double BucketSeconds);

/// <summary>A sum alone: its median, its quartiles, and by the model.</summary>
internal sealed record ScalingSumRow(long SumBytes, double SumSeconds, double SumSecondsQ25, double SumSecondsQ75, double ModelSeconds);

/// <summary>A step that the model foresees, of ranks with a machine each.</summary>
/// <param name="Scaling">weak: the same images a rank; strong: the same images of all ranks; depth: weak, of deeper networks.</param>
/// <param name="Link">Between the machines.</param>
/// <param name="Ranks">How many there are.</param>
/// <param name="Images">Of the rank that has the most.</param>
/// <param name="DepthFactor">Of the stages' depth.</param>
/// <param name="StepSeconds">Of the step.</param>
/// <param name="Efficiency">The speed of a rank beside that of one alone.</param>
internal sealed record ScalingForecastRow(
    string Scaling, string Link, int Ranks, int Images, double DepthFactor, double StepSeconds, double Efficiency);

/// <summary>Where it stops to pay.</summary>
/// <param name="Scaling">As in <see cref="ScalingForecastRow"/>.</param>
/// <param name="Link">Between the machines.</param>
/// <param name="Change">What is otherwise than in this run.</param>
/// <param name="HalfEfficiencyRanks">From which on efficiency is below one half; null: never, up to 1,024 ranks.</param>
/// <param name="FastestRanks">That train the most images a second, up to 1,024: more are no faster.</param>
/// <param name="FastestSpeedup">Theirs, beside one rank alone.</param>
internal sealed record ScalingLimitRow(
    string Scaling, string Link, string Change, int? HalfEfficiencyRanks, int FastestRanks, double FastestSpeedup);
