using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>A whole network: its weights, and what rests between the training steps of SGD with momentum.</summary>
internal sealed record SummaryRow(
    string Network, long Parameters, long Buffers, long ParameterBytes, long RestBytes, int Batch, int Image);

/// <summary>
/// What a training step takes beyond rest with one method, foreseen from shapes, and evaluations of a residual function in it.
/// </summary>
internal sealed record StepRow(string Reconstruction, long StepBytes, double EvaluationsPerLayer);

/// <summary>Tells what a network is made of, and what it takes to train it.</summary>
[Verb("summary", HelpText = "Layers, shapes and parameters of a network, and the memory of a training step by method.")]
[Page(
    "Of the network of --checkpoint, or that of the options. Nothing is trained: bytes of a step are foreseen from shapes, beyond weights, "
    + "gradients and momentum (docs/reconstructions.md, \"A budget\").",
    "resnet-nodes summary --depth 64                                                          (1 second)",
    "resnet-nodes summary --network ode --size 101 --batch 32 --image 64                      (3 seconds)",
    "resnet-nodes summary --checkpoint runs/train/checkpoint.bin --json")]
[JsonRows(typeof(LayerRow), typeof(SummaryRow), typeof(StepRow))]
[Defaults("reconstructions=adaptive,inverse,corrected,checkpoint,backprop")]
[Meaning("checkpoint", "A network to take instead of that of the options: checkpoint.bin of a run, or what export or import has written.")]
[Meaning("reconstructions", "Methods to tell the memory of: {methods}.")]
internal sealed class Summary : NetworkVerb
{
    [Option("image", MetaValue = "N", HelpText = "Rows and columns of an image (default: as the checkpoint says, or 32).")]
    [Section("data")]
    public string? Image { get => Optional(); set => Set(value); }

    public CheckpointGroup Checkpoint { get; } = new();

    public ReconstructionsGroup Methods { get; } = new();

    public PrecisionGroup Precision { get; } = new();

    public BatchGroup Batch { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var (batch, methods) = (Batch.Number, Methods.Values);
        var (network, description) = Source(batch);
        using (network)
        {
            var image = ImageOf(description);
            network.eval();
            var parts = LayerWalk.PartsOf(network);
            var type = network.parameters().First().dtype;
            using var one = zeros([1, description.InputChannels, image, image], type);
            var layers = LayerWalk.Of(parts, one);
            layers.ToList().ForEach(terminal.Row);
            terminal.Table(layers);

            var parameters = network.parameters().Sum(p => p.numel());
            var bytes = network.parameters().Sum(p => p.numel() * p.element_size());
            const int copies = 3;
            var whole = new SummaryRow(
                description.Summary, parameters, network.buffers().Sum(b => b.numel()), bytes, copies * bytes, batch, image);
            terminal.Row(whole);
            terminal.Table([whole]);

            network.train();
            var costs = new StepCosts(parts, description, Precision.ComputeType);
            List<StepRow> steps = [.. methods.Select(method => costs.Of(method, one.expand(batch, -1, -1, -1)))];
            steps.ForEach(terminal.Row);
            terminal.Table(steps);
        }
    }

    private (nn.Module<Tensor, Tensor> Network, NetworkDescription Description) Source(int batch)
    {
        if (Checkpoint.Path is { } path)
        {
            RefuseOptions(path);
            return Checkpoint.Open(this);
        }

        var pixels = Image is { } text ? Read.Whole("image", text) : 32;
        // Weights alone are built, whatever a step would take.
        var network = Built(new StageOptions(), new Workload(CPU, 1, pixels, 1));
        return (network, NetworkDescription.Of(network)!);
    }

    private int ImageOf(NetworkDescription description)
    {
        var image = Image is { } text ? Read.Whole("image", text) : description.Input?.Pixels ?? 32;
        return description.Depth is null || image == 32
            ? image
            : throw new UsageException($"--image is {image}, but a tiny network works on images of 32×32");
    }
}
