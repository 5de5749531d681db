using CommandLine;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>The number of residual functions of one stage.</summary>
internal sealed class DepthGroup : OptionGroup
{
    [Option('d', "depth", Default = "16", MetaValue = "N", HelpText = "Residual functions of TinyResNet.")]
    [Section("model")]
    public string Text { get => Given(); set => Set(value); }

    /// <summary>The number.</summary>
    public int Number => AtLeast(1);

    /// <summary>The number, at least so many.</summary>
    public int AtLeast(int least) => Read.Whole("depth", Text, least);
}

/// <summary>Several depths, one after the other.</summary>
internal sealed class DepthsGroup : OptionGroup
{
    [Option('d', "depths", Default = "8,16,32", MetaValue = "N,N,...", HelpText = "Numbers of residual functions.")]
    [Section("model")]
    public string Text { get => Given(); set => Set(value); }

    public IReadOnlyList<int> Numbers => Read.Wholes("depths", Text);
}

/// <summary>The size of a network of four stages.</summary>
internal sealed class SizeGroup : OptionGroup
{
    public const string Syntax = "18|34|50|101|152|auto:N|custom:A+B+C+D";

    [Option("size", Default = "18", MetaValue = Syntax, HelpText =
        "Blocks of a network of four stages (custom-basic:A+B+C+D for basic blocks).")]
    [Section("model")]
    public string Text { get => Given(); set => Set(value); }

    public NetworkSize Value => Parse(Text);

    public override void Start(Verb verb) => Parse(Peek(nameof(Text))!);

    private static NetworkSize Parse(string text) => Read.Checked("size", text, NetworkSize.Parse);
}

/// <summary>Several sizes, one after the other.</summary>
internal sealed class SizesGroup : OptionGroup
{
    [Option("sizes", Default = "auto:8", MetaValue = "SIZE,...", HelpText =
        "Sizes to train: {sizes}.")]
    [Section("model")]
    public string Text { get => Given(); set => Set(value); }

    public IReadOnlyList<NetworkSize> Values => Parse(Text);

    public override string? Placeholder(string name) => name == "sizes" ? SizeGroup.Syntax : null;

    public override void Start(Verb verb) => Parse(Peek(nameof(Text))!);

    private static IReadOnlyList<NetworkSize> Parse(string text) =>
        Read.Several("sizes", text, part => Read.Checked("sizes", part, NetworkSize.Parse));
}

/// <summary>Which stages of a network of four are trained with the adjoint.</summary>
internal sealed class AdjointFromGroup : OptionGroup
{
    [Option("adjoint-from", Default = "1", MetaValue = "N", HelpText =
        "Store the states of stages of fewer functions than this (networks of four stages; the paper's code: 11).")]
    [Section("method")]
    public string Text { get => Given(); set => Set(value); }

    public int Number => Read.Whole("adjoint-from", Text);
}

/// <summary>The width of a network.</summary>
internal sealed class PlanesGroup : OptionGroup
{
    [Option('p', "planes", MetaValue = "C", HelpText =
        "Channels of TinyResNet's stage [16], or planes of the first of four stages [64].")]
    [Section("model")]
    public string? Text { get => Optional(); set => Set(value); }

    /// <summary>The planes of a network: as given, or as its kind has by itself.</summary>
    public int Of(string network) => Or(network == "tiny" ? 16 : 64);

    /// <summary>As given, or the usual number.</summary>
    public int Or(int usual) => Text is { } text ? Read.Whole("planes", text) : usual;
}
