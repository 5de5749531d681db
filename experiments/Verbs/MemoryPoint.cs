using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Measuring;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Verbs;

/// <summary>Memory of training steps of one network: one point of <see cref="Memory"/> and <see cref="Finetune"/>, in a process of its own.</summary>
[Verb("memory-point", Hidden = true, HelpText = "One point of memory; prints a JSON object.")]
internal sealed class MemoryPoint : CommonOptions
{
    public static readonly IReadOnlyList<string> Networks = ["tiny", "linear", "resnet", "ode", "tied"];

    [Option("network")]
    public string Network { get; set; } = "tiny";

    [Option("depth")]
    public string Depth { get; set; } = "16";

    [Option("size")]
    public string Size { get; set; } = "18";

    [Option("planes")]
    public string Planes { get; set; } = "16";

    [Option("classes")]
    public string Classes { get; set; } = "10";

    [Option("image")]
    public string Image { get; set; } = "32";

    [Option("train-stage")]
    public string? TrainStage { get; set; }

    [Option("solver")]
    public string SolverName { get; set; } = "euler";

    [Option("reconstruction")]
    public string Method { get; set; } = "adaptive";

    [Option("precision")]
    public string Precision { get; set; } = "float32";

    [Option("batch")]
    public string Batch { get; set; } = "128";

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        random.manual_seed(SeedNumber);
        var options = new StageOptions
        {
            Solver = Read.Choice<Solver>("solver", SolverName),
            Reconstruction = Read.One("reconstruction", Method),
            ComputeType = Read.Precision(Precision),
            AccumulateGradientsInPlace = true,
        };
        var device = FindDevice();
        var (peak, step) = Network == "linear" ? Linear(Read.Whole("depth", Depth, 1), options, device) : Images(options, device);
        MemoryProcess.Answer(peak, step);
    }

    private (long Peak, long Step) Images(StageOptions options, Device device)
    {
        var (planes, classes, image) = (Read.Whole("planes", Planes, 1), Read.Whole("classes", Classes, 1), Read.Whole("image", Image, 1));
        using nn.Module<Tensor, Tensor> model = Network == "tiny"
            ? new TinyResNet(new TinyResNetOptions { Depth = Read.Whole("depth", Depth, 1), Planes = planes, Classes = classes, ZeroInit = false, Stage = options })
            : new ResNet(new ResNetOptions
            {
                Kind = Read.Kind(Network),
                Size = NetworkSize.Parse(Size),
                Planes = planes,
                Classes = classes,
                Stage = options,
            });
        if (TrainStage is not null)
        {
            Finetune.Freeze(model, Read.Whole("train-stage", TrainStage, 1, 4));
        }

        using var trainer = new Trainer(model, new TrainingOptions { LearningRate = 1e-3, Device = device });
        var batch = Read.Whole("batch", Batch, 1);
        using var images = randn(batch, 3, image, image).to(device);
        using var labels = randint(0, classes, batch, ScalarType.Int64).to(device);
        return MemoryProbe.Measure(() => trainer.TrainStep(images, labels), device);
    }

    private static (long Peak, long Step) Linear(int depth, StageOptions options, Device device)
    {
        const int width = 500, hidden = 8;
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
