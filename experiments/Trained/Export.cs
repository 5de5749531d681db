using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>A file with a network in it.</summary>
internal sealed record NetworkFileRow(string File, string Network, int Tensors, long Parameters, long Bytes)
{
    /// <summary>Tells what was written.</summary>
    public static void Show(Terminal terminal, string path, nn.Module network, string summary)
    {
        var row = new NetworkFileRow(
            path, summary, network.state_dict().Count, network.parameters().Sum(p => p.numel()), new FileInfo(path).Length);
        terminal.Row(row);
        terminal.Table([row]);
    }
}

/// <summary>Writes weights for other programs.</summary>
[Verb("export", HelpText = "Write the weights of a trained network for other programs: safetensors, or PyTorch's .pth.")]
[Page(
    "Parameters and buffers keep their bits; the network's description goes with them, so that evaluate, predict and train --init read the "
    + "file too (docs/using-a-network.md).",
    "resnet-nodes export --checkpoint runs/train/checkpoint.bin --to tiny.safetensors         (1 second)",
    "resnet-nodes export --checkpoint runs/train/checkpoint.bin --to tiny.pth --json")]
[JsonRows(typeof(NetworkFileRow))]
[Meaning("checkpoint", "The trained network: checkpoint.bin of a run.")]
[Meaning("to", "File to write: .safetensors, .pth or .pt.")]
internal sealed class Export : Computation
{
    public CheckpointGroup Checkpoint { get; } = new();

    public NamesGroup Names { get; } = new();

    public TargetGroup Target { get; } = new();

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var names = Names.Value;
        var target = Target.Required(this, "tiny.safetensors", ".safetensors", ".pth", ".pt");
        var (network, description) = Checkpoint.Open(this);
        using (network)
        {
            NamesGroup.Guarded(() => NetworkFile.Save(target, network, description, names));
            NetworkFileRow.Show(terminal, target, network, description.Summary);
        }
    }
}
