using CommandLine;
using ResNetNodes.Distributed;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Experiments.Trained;
using ResNetNodes.Measuring;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Scaling;

/// <summary>How far training by several ranks scales: what their sums cost, and a model of more ranks.</summary>
[Verb("scaling", HelpText = "What several ranks gain, started by mpirun: their sums, how much of them is hidden, more ranks by a model.")]
[Page(
    "Beyond the paper: steps of one rank alone, without sums, with sums after the backward pass and during it, in one run, and up to "
    + "1,024 ranks from these by simulation (docs/ranks.md, \"How far it scales\").",
    "mpirun -n 2 ./resnet-nodes scaling --threads 1 --batch 32                                (1 minute on 2 cores)",
    "mpirun -n 2 ./resnet-nodes scaling --network resnet --planes 16 --batch 8 --threads 1 --json")]
[JsonRows(
    typeof(ScalingStepRow),
    typeof(ScalingCommunicationRow),
    typeof(ScalingBucketRow),
    typeof(ScalingSumRow),
    typeof(ScalingLimitRow),
    typeof(ScalingForecastRow))]
[Meaning("batch", "Images of each rank in a step.")]
[Ranked]
internal sealed class ScalingVerb : NetworkVerb
{
    [Option("timed-steps", Default = "21", MetaValue = "N", HelpText =
        "Steps of each kind to time, rounded up to whole rounds of three.")]
    [Section("run")]
    public string TimedSteps { get => Given(); set => Set(value); }

    [Option("image", Default = "32", MetaValue = "N", HelpText = "Rows and columns of an image.")]
    [Section("data")]
    public string Image { get => Given(); set => Set(value); }

    public ReconstructionGroup Reconstruction { get; } = new();

    public PrecisionGroup Precision { get; } = new();

    public BatchGroup Batch { get; } = new();

    public FolderGroup Folder { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var (steps, batch, image) = (Read.Whole("timed-steps", TimedSteps, 1), Batch.Number, Read.Whole("image", Image));
        var ranks = RankedRun.Join(this)
            ?? throw new UsageException("scaling compares several processes with one; start it by mpirun -n K, K at least 2");
        Allocator.KeepFreedMemory();
        const int copies = 3;
        var stage = new StageOptions
        {
            Reconstruction = Reconstruction.Value,
            ComputeType = Precision.ComputeType,
            AccumulateGradientsInPlace = true,
        };
        using var model = Built(stage, new(CPU, batch, image, copies));
        using var parallel = new DataParallel(model, ranks);
        var folder = RankedRun.IsFirst ? RunFolder.Open(this) : null;
        var network = $"{Network.Name} ({string.Join("; ", NetworkGroup.StagesOf(model).Select(s => s.ToString()))})";
        terminal.Say($"{network}; batch {batch} on each of {ranks.Size} ranks; output in {folder?.Path}");
        var key = $"measured-{ranks.Size}";
        var measured = folder?.Made<ScalingMeasurement>(key);
        if (ranks.Gather(measured is null ? 0 : 1)[0][0] == 0)
        {
            var made = Measure(parallel, steps, batch, image, terminal, cancellation);
            measured = folder?.Point(key, () => made);
        }

        if (folder is not null)
        {
            Show(measured!, folder, terminal, Network.Name);
        }
    }

    private ScalingMeasurement Measure(
        DataParallel parallel, int steps, int batch, int image, Terminal terminal, CancellationToken cancellation)
    {
        var (ranks, model) = (parallel.Ranks, parallel.Module);
        using var images = randn(batch, 3, image, image);
        using var labels = randint(0, Read.Whole("classes", Classes), batch, ScalarType.Int64);
        using var timer = new StepTimer(parallel, images, labels);
        var times = timer.Measure(steps, terminal, cancellation);
        var sums = SumTimer.Measure(ranks);
        var stages = NetworkGroup.StagesOf(model);
        var trained = model.parameters().Where(p => p.requires_grad).DistinctBy(p => p.Handle).ToList();
        // Functions that all layers share have the same weights in deeper networks.
        var growing = stages.Where(s => s.Functions.Count == s.Depth).SelectMany(s => s.parameters()).DistinctBy(p => p.Handle);
        return new(
            ranks.Size, get_num_threads(), get_num_threads() >= RankedRun.Cores, batch, times,
            [
                trained.Count * sizeof(double),
                model.buffers().Where(b => b.is_floating_point()).DistinctBy(b => b.Handle).Sum(Bytes),
            ],
            growing.Sum(Bytes) / (double)trained.Sum(Bytes), sums);

        static long Bytes(Tensor tensor) => tensor.NumberOfElements * tensor.element_size();
    }

    private static void Show(ScalingMeasurement run, RunFolder folder, Terminal terminal, string network)
    {
        var forecast = new ScalingForecast(run);
        var steps = StepKinds.All.Select(kind => StepOf(run, forecast, kind)).ToList();
        var communication = CommunicationOf(run, forecast);
        var buckets = run.Steps.Buckets.Select((bucket, i) => new ScalingBucketRow(
            i, bucket.Bytes, bucket.Ready, forecast.Measured.SumSeconds(run.Ranks, bucket.Bytes))).ToList();
        var sums = run.Sums.Times.Select(time => new ScalingSumRow(
            time.Bytes, ScalingForecast.Median(time.Seconds), Fit.Quantile(time.Seconds, 0.25), Fit.Quantile(time.Seconds, 0.75),
            forecast.Measured.SumSeconds(run.Ranks, time.Bytes))).ToList();
        var (limits, rows) = (forecast.Limits(), forecast.Rows());
        Write("steps", steps);
        Write("communication", [communication]);
        Write("buckets", buckets);
        Write("sums", sums);
        Write("limits", limits);
        folder.WriteCsv("scaling.csv", rows);
        rows.ToList().ForEach(terminal.Row);
        terminal.Say("figure: " + ScalingFigure.Save(folder, run, forecast, rows, network));
        folder.Finish(
            terminal, $"How far {network} scales: {run.Ranks} ranks of {run.Threads} threads, {run.Images} images each",
            Hidden(communication, forecast), Foreseen(steps));

        void Write<T>(string name, IReadOnlyList<T> records)
            where T : notnull
        {
            folder.WriteCsv($"{name}.csv", records);
            records.ToList().ForEach(record => terminal.Row(record));
            terminal.Table(records);
        }
    }

    private static ScalingStepRow StepOf(ScalingMeasurement run, ScalingForecast forecast, string kind)
    {
        var seconds = run.Steps.Times.First(times => times.Kind == kind).Rounds.SelectMany(round => round).ToList();
        var (median, predicted) = (ScalingForecast.Median(seconds), forecast.Predicted(kind));
        return new(
            kind, kind == StepKinds.Alone ? 1 : run.Ranks, run.Threads, kind == StepKinds.OneImage ? 1 : run.Images, median,
            Fit.Quantile(seconds, 0.25), Fit.Quantile(seconds, 0.75), predicted, (predicted / median) - 1);
    }

    private static ScalingCommunicationRow CommunicationOf(ScalingMeasurement run, ScalingForecast forecast)
    {
        var (whole, hidden, link) = (forecast.Communication, forecast.Hidden, forecast.Measured);
        return new(
            run.Steps.Buckets.Sum(bucket => bucket.Bytes), run.Steps.Buckets.Count, whole.Value, Finite(whole.HalfWidth), hidden.Value,
            Finite(hidden.HalfWidth), whole.IsAbove(0) == true ? hidden.Value / whole.Value : null, link.Latency, Finite(link.Bandwidth),
            link.Addition, run.Sums.ProcessorSecondsPerByte);

        static double? Finite(double number) => double.IsFinite(number) ? number : null;
    }

    private static Finding Hidden(ScalingCommunicationRow row, ScalingForecast forecast)
    {
        const string claim = "Ours: sums of gradients are hidden behind the backward pass";
        var (all, part) = (Shown(forecast.Communication), Shown(forecast.Hidden));
        return row.HiddenShare is { } share
            ? new(claim, $"{share:0 %} of what they cost: {part} of {all}", forecast.Hidden.IsAbove(0))
            : new(claim, $"they cost {all} a step, which is not above the noise", null);

        static string Shown(Estimate seconds) =>
            new Estimate(1000 * seconds.Value, 1000 * seconds.HalfWidth).Text("0.00") + " ms";
    }

    private static Finding Foreseen(IReadOnlyList<ScalingStepRow> steps)
    {
        const double near = 0.1;
        var errors = steps.Where(row => row.PredictionError is not null).ToList();
        return new(
            $"Ours: the model is within {near:0 %} of steps with sums",
            string.Join(", ", errors.Select(row => $"{row.Steps}: {row.PredictionError:+0.0 %;-0.0 %}")),
            errors.All(row => Math.Abs(row.PredictionError!.Value) <= near));
    }
}
