using CommandLine;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Weights;

namespace ResNetNodes.Experiments.Trained;

/// <summary>How a file names the tensors of a network.</summary>
internal sealed class NamesGroup : OptionGroup
{
    private const string Own = "own";

    [Option("names", Default = Own, MetaValue = "own|torchvision", HelpText =
        "Names of the tensors in the file: this program's, or torchvision's.")]
    [Section("model")]
    public string Text { get => Given(); set => Set(value); }

    /// <summary>The table; null for the network's own.</summary>
    public WeightNames? Value => Parse(Text);

    public override void Start(Verb verb) => Parse(Peek(nameof(Text))!);

    /// <summary>Does what fails where a network has no such names.</summary>
    public static void Guarded(Action action)
    {
        try
        {
            action();
        }
        catch (ArgumentException exception)
        {
            // .NET adds the parameter's name.
            throw new UsageException($"--names: {exception.Message.Split(" (Parameter")[0]}");
        }
    }

    private static WeightNames? Parse(string text) =>
        Read.OneOf("names", text, Own, WeightNames.Torchvision.Name) == Own ? null : WeightNames.Torchvision;
}
