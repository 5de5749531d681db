using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using ResNetNodes.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Weights that a training begins with.</summary>
internal sealed class InitGroup : OptionGroup
{
    private const string Head = "head.";

    [Option("init", MetaValue = "FILE", HelpText =
        "Begin with the weights of this network instead of random ones: checkpoint.bin of a run, or what export or import has written.")]
    [Section("training")]
    public string? Path { get => Optional(); set => Set(value); }

    [Option("new-head", HelpText = "Leave the last layer random: for other classes than those of --init.")]
    [Section("training")]
    public bool? NewHead { get => Switch(); set => Set(value); }

    public override void Start(Verb verb)
    {
        if (Peek(nameof(NewHead)) == "true" && Peek(nameof(Path)) is null)
        {
            throw new UsageException("--new-head is given, but no --init with other classes");
        }
    }

    /// <summary>Reads the weights, where there is a file.</summary>
    /// <param name="network">The network that is trained.</param>
    /// <param name="classNames">The classes' names in order, if known.</param>
    public void Load(nn.Module network, IReadOnlyList<string>? classNames)
    {
        if (Path is not { } path)
        {
            return;
        }

        if (NewHead != true)
        {
            if (classNames is not null && NetworkFile.Describe(path)?.ClassNames is { } known && !known.SequenceEqual(classNames))
            {
                throw new ResNetNodesException($"{path}: was trained on other classes than these; take --new-head");
            }

            NetworkFile.LoadInto(path, network);
            return;
        }

        var (source, description) = NetworkFile.Load(path);
        using (source)
        {
            var here = NetworkDescription.Of(network)!;
            if ((description with { Classes = here.Classes }).Difference(here) is { } difference)
            {
                throw NetworkDescription.AnotherNetwork(path, difference);
            }

            using var guard = no_grad();
            var given = source.state_dict();
            foreach (var (name, target) in network.state_dict().Where(t => !t.Key.StartsWith(Head, StringComparison.Ordinal)))
            {
                target.copy_(given[name]);
            }
        }
    }
}
