using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Networks;
using ResNetNodes.Measuring;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Paper;

/// <summary>
/// Memory of training steps of one network: one point of <see cref="Memory"/> and <see cref="Finetune"/>, in a process
/// of its own.
/// </summary>
[Verb("memory-point", Hidden = true, HelpText = "One point of memory; prints a JSON object.")]
internal sealed class MemoryPoint : Verb
{
    /// <summary>Rows and columns of the input of linear.</summary>
    public const int LinearWidth = 500;

    public static readonly IReadOnlyList<string> Networks = ["tiny", "linear", "resnet", "ode", "tied"];

    [Option("classes", Default = "10")]
    public string Classes { get => Given(); set => Set(value); }

    [Option("image", Default = "32")]
    public string Image { get => Given(); set => Set(value); }

    [Option("train-stage", Default = "all")]
    public string TrainStage { get => Given(); set => Set(value); }

    [Option("parts")]
    public bool? Parts { get => Switch(); set => Set(value); }

    public NetworkGroup Network { get; } = new(Networks);

    public DepthGroup Depth { get; } = new();

    public SizeGroup Size { get; } = new();

    public PlanesGroup Planes { get; } = new();

    public SolverGroup Solver { get; } = new();

    public ReconstructionGroup Method { get; } = new();

    public AdjointFromGroup AdjointFrom { get; } = new();

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
        var (peak, step) = Network.Name == "linear" ? Linear(Depth.Number, options, Device.Value) : Images(options, Device.Value);
        MemoryProcess.Answer(peak, step);
    }

    private (long Peak, long Step) Images(StageOptions options, Device device)
    {
        var (network, classes, image) = (Network.Name, Read.Whole("classes", Classes), Read.Whole("image", Image));
        var planes = Planes.Of(network);
        using nn.Module<Tensor, Tensor> model = network == "tiny"
            ? NetworkGroup.Build(
                Network.Tiny(Depth.Number, planes, options, classes) with { ZeroInit = Network.ZeroInit ?? false }, Seed.Number)
            : NetworkGroup.Build(Network.Staged(network, Size.Value, planes, AdjointFrom.Number, options, classes), Seed.Number);
        if (Finetune.StageOf(TrainStage) is { } stage)
        {
            Finetune.Freeze(model, stage);
        }

        using var trainer = new Trainer(model, new TrainingOptions { LearningRate = 1e-3, Device = device });
        var batch = Batch.Number;
        using var images = randn(batch, 3, image, image).to(device);
        using var labels = randint(0, classes, batch, ScalarType.Int64).to(device);
        var measured = MemoryProbe.Measure(() => trainer.TrainStep(images, labels), device);
        if (Parts == true && model is ResNet parted)
        {
            var rows = PartMemory.Measure(parted.Parts, MemoryLayout.ChannelsLast(images), scores => nn.functional.cross_entropy(scores, labels));
            foreach (var row in rows) Console.Error.WriteLine($"{row.Name,-8} kept {row.KeptBytes / 1048576.0,8:f1} forward {row.ForwardBytes / 1048576.0,8:f1} backward {row.BackwardBytes / 1048576.0,8:f1}");
            var (bytes, part) = PartMemory.Total(rows);
            Console.Error.WriteLine($"total {bytes / 1048576.0:f1} in {(part < 0 ? "forward" : rows[part].Name)} measured {measured.StepBytes / 1048576.0:f1}");
        }

        return measured;
    }

    private static (long Peak, long Step) Linear(int depth, StageOptions options, Device device)
    {
        const int width = LinearWidth, hidden = 8;
        using var function = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width));
        using var stage = ResidualStage.Shared(function, depth, options);
        stage.to(device);
        using var optimizer = optim.SGD(stage.parameters(), 1e-3);
        using var x = randn(width, width, device: device);
        return MemoryProbe.Measure(
            () =>
            {
                using var scope = NewDisposeScope();
                optimizer.zero_grad();
                stage.call(x).pow(2).mean().BackwardThroughStages();
                optimizer.step();
            },
            device);
    }
}
