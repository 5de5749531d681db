using System.Diagnostics;
using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;
using ResNetNodes.Measuring;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// Memory of training steps of one network: one point of <see cref="Memory"/> and <see cref="Finetune"/>, in a process
/// of its own.
/// </summary>
[Verb("memory-point", Hidden = true, HelpText = "One point of memory, or of time; prints a JSON object.")]
internal sealed class MemoryPoint : Verb
{
    /// <summary>Rows and columns of the input of linear.</summary>
    public const int LinearWidth = 500;

    public static readonly IReadOnlyList<string> Networks = ["tiny", "linear", "resnet", "ode", "tied", "torchvision"];

    [Option("classes", Default = "10")]
    public string Classes { get => Given(); set => Set(value); }

    [Option("image", Default = "32")]
    public string Image { get => Given(); set => Set(value); }

    [Option("train-stage", Default = "all")]
    public string TrainStage { get => Given(); set => Set(value); }

    [Option("timed-steps", Default = "0", HelpText = "Of steps, time is measured instead of memory; of so many, once they have settled.")]
    public string TimedSteps { get => Given(); set => Set(value); }

    public NetworkGroup Network { get; } = new(Networks);

    public DepthGroup Depth { get; } = new();

    public SizeGroup Size { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    public ReconstructionGroup Method { get; } = new();

    public AdjointFromGroup AdjointFrom { get; } = new();

    public MemoryGroup Memory { get; } = new();

    public ExecutionGroup Execution { get; } = new();

    public BatchGroup Batch { get; } = new();

    public SeedGroup Seed { get; } = new();

    public ThreadsGroup Threads { get; } = new();

    public DeviceGroup Device { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        new RandomNumbers(Seed.Number).SeedTorch();
        var options = Execution.On(new StageOptions
        {
            Solver = Solver.Value,
            Reconstruction = Method.Value,
        });
        if (Network.Name == "linear")
        {
            Unused("memory", "--network linear is one stage, with nothing to plan");
            Unused("timed-steps", "steps of --network linear are not timed");
        }

        MemoryProcess.Answer(Network.Name == "linear" ? Linear(Depth.Number, options, Device.Value) : Images(options, Device.Value));
    }

    private object Images(StageOptions options, Device device)
    {
        var (name, classes, image) = (Network.Name, Read.Whole("classes", Classes), Read.Whole("image", Image));
        var planes = Planes.Of(name);
        using nn.Module<Tensor, Tensor> model = name == "tiny"
            ? NetworkGroup.Build(
                Network.Tiny(Depth.Number, planes, options, classes, Memory.Bytes) with { ZeroInit = Network.ZeroInit ?? false },
                Seed.Number)
            : NetworkGroup.Build(
                Network.Staged(name, Size.Value, planes, AdjointFrom.Number, options, classes, Memory.Bytes), Seed.Number);
        if (Finetune.StageOf(TrainStage) is { } stage)
        {
            Finetune.Freeze(model, stage);
        }

        using var trainer = new Trainer(model, new TrainingOptions { LearningRate = 1e-3, Device = device });
        var batch = Batch.Number;
        using var images = randn(batch, 3, image, image).to(device);
        using var labels = randint(0, classes, batch, ScalarType.Int64).to(device);
        void Step() => trainer.TrainStep(images, labels);
        if (Read.Whole("timed-steps", TimedSteps) is > 0 and var steps)
        {
            Allocator.KeepFreedMemory();
            return new MeasuredTime(Seconds(Step, steps));
        }

        var (peak, step) = MemoryProbe.Measure(Step, device);
        // What a GPU's allocator has once reserved tells nothing of parts.
        var parts = model is ResNet network && device.type == DeviceType.CPU ? Parts(network, images, labels) : [];
        return new MeasuredMemory(peak, step, parts)
        {
            Plan = NetworkGroup.PlannerOf(model)?.Plan is { } plan ? new(plan.Bytes, plan.LeastBytes, plan.MostBytes) : null,
        };
    }

    private static IReadOnlyList<PartMemory> Parts(ResNet network, Tensor images, Tensor labels)
    {
        using var input = MemoryLayout.ChannelsLast(images);
        IReadOnlyList<PartMemory> Measure() =>
            PartMemory.Measure(network.Parts, input, scores => nn.functional.cross_entropy(scores, labels));
        // The first also gives back what the steps before have left.
        Measure();
        return Measure();
    }

    // The median, once a plan has seen enough of its steps to settle.
    private static double Seconds(Action step, int count)
    {
        const int settling = 20;
        for (var i = 0; i < settling; i++)
        {
            step();
        }

        return Fit.Quantile(
            [.. Enumerable.Range(0, count).Select(_ =>
            {
                var start = Stopwatch.GetTimestamp();
                step();
                return Stopwatch.GetElapsedTime(start).TotalSeconds;
            })],
            0.5);
    }

    private static MeasuredMemory Linear(int depth, StageOptions options, Device device)
    {
        const int width = LinearWidth, hidden = 8;
        using var function = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width));
        using var stage = ResidualStage.Shared(function, depth, options);
        stage.to(device);
        using var optimizer = optim.SGD(stage.parameters(), 1e-3);
        using var x = randn(width, width, device: device);
        var (peak, step) = MemoryProbe.Measure(
            () =>
            {
                using var scope = NewDisposeScope();
                optimizer.zero_grad();
                stage.call(x).pow(2).mean().BackwardThroughStages();
                optimizer.step();
            },
            device);
        return new(peak, step, []);
    }
}
