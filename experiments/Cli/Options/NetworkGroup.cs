using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>The kind of a network that is trained on images.</summary>
/// <param name="allowed">The kinds that the verb trains, of tiny, resnet, ode and tied.</param>
internal sealed class NetworkGroup(params IReadOnlyList<string> allowed) : OptionGroup
{
    [Option('n', "network", Default = "tiny", MetaValue = "{networks}", HelpText = "{meaning}")]
    [Section("model")]
    public string Text { get => Given(); set => Set(value); }

    [Option("zero-init", HelpText =
        "Start every residual function at 0, its last batch normalization's weight being 0 [true for tiny, false for "
        + "others].")]
    [Section("model")]
    public bool? ZeroInit { get => Switch(); set => Set(value); }

    /// <summary>The checked text.</summary>
    public string Name => Read.OneOf("network", Text, allowed);

    public override string? Placeholder(string name) => name switch
    {
        "networks" => string.Join('|', allowed),
        "meaning" => string.Join("; ", allowed.Select(Meaning)) + ".",
        _ => null,
    };

    /// <summary>A TinyResNet; LibTorch's generator is seeded first.</summary>
    public TinyResNet Tiny(int depth, int planes, StageOptions stage, int classes, int pixels, long seed)
    {
        if (pixels != 32)
        {
            throw new UsageException(
                $"--network tiny works on images of 32×32, these are {pixels}×{pixels}; take --image-size 32, or --network ode");
        }

        new RandomNumbers(seed).SeedTorch();
        return new TinyResNet(new TinyResNetOptions
        {
            Depth = depth,
            Planes = planes,
            Classes = classes,
            ZeroInit = ZeroInit ?? true,
            Stage = stage,
        });
    }

    /// <summary>A network of four stages; LibTorch's generator is seeded first.</summary>
    public ResNet Staged(string kind, NetworkSize size, int planes, int adjointFrom, StageOptions stage, int classes, long seed)
    {
        new RandomNumbers(seed).SeedTorch();
        return new ResNet(new ResNetOptions
        {
            Kind = Read.Kind(kind),
            Size = size,
            Planes = planes,
            Classes = classes,
            ZeroInitResidual = ZeroInit ?? false,
            AdjointFrom = adjointFrom,
            Stage = stage,
        });
    }

    /// <summary>The residual stages of a network, in order.</summary>
    public static IReadOnlyList<ResidualStage> StagesOf(nn.Module network) => [.. network.modules().OfType<ResidualStage>()];

    private static string Meaning(string kind) => kind switch
    {
        "tiny" => "tiny: TinyResNet (figures 3c and 4)",
        "resnet" => "resnet: an ordinary ResNet of four stages",
        "ode" => "ode: an ODE ResNet of four stages",
        _ => "tied: the same with tied weights",
    };
}
