using System.Globalization;
using CommandLine;
using ResNetNodes.Data;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using ResNetNodes.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>Reads weights of other programs, and makes deeper networks of shallow ones.</summary>
[Verb("import", HelpText = "Make a checkpoint of weights from elsewhere; deeper or untied, if asked for.")]
[Page(
    "Takes .safetensors, or .pth of PyTorch, for the network that the options name; or a file that says itself which network it holds: "
    + "checkpoint.bin, or what export has written. train --init goes on from the result.",
    "resnet-nodes import --from tiny.safetensors --stretch-to 32 --to deep.bin                (1 second)",
    "resnet-nodes import --from runs/tied/auto_32-inverse-1/checkpoint.bin --untie --to untied.bin",
    "resnet-nodes import --from weights.pth --network ode --size 50 --classes 1000 --input imagenet --to r50.bin")]
[JsonRows(typeof(NetworkFileRow))]
[Meaning("to", "File to write: a checkpoint, or .safetensors, .pth or .pt.")]
internal sealed class Import : NetworkVerb
{
    [Option("from", MetaValue = "FILE", HelpText = "The weights: .safetensors, .pth, .pt, or a checkpoint.")]
    [Section("model")]
    public string? From { get => Optional(); set => Set(value); }

    [Option("stretch-to", MetaValue = "N|SIZE", HelpText =
        "Make a deeper or shallower network of it: layer i of depth b takes layer ⌊i·a/b⌋ of depth a, stage by stage.")]
    [Section("model")]
    public string? StretchTo { get => Optional(); set => Set(value); }

    [Option("untie", HelpText = "Give every step of a tied network its own copy of the one function.")]
    [Section("model")]
    public bool? Untie { get => Switch(); set => Set(value); }

    [Option("input", MetaValue = "DATASET", HelpText = "The network was trained on images like those of {datasets}.")]
    [Section("data")]
    public string? Input { get => Optional(); set => Set(value); }

    [Option("image-size", MetaValue = "N", HelpText = "Rows and columns of its images, with --input image-folder [64] or imagenet [224].")]
    [Section("data")]
    public string? ImageSize { get => Optional(); set => Set(value); }

    [Option("class-names", MetaValue = "FILE", HelpText = "Names of its classes, one a line, in their order.")]
    [Section("data")]
    public string? ClassNames { get => Optional(); set => Set(value); }

    public NamesGroup Names { get; } = new();

    public TargetGroup Target { get; } = new();

    public override string? Placeholder(string name) => name == "datasets" ? Suggestion.List(DataSets.Names) : null;

    public override void Start(Verb verb)
    {
        base.Start(verb);
        if (Peek(nameof(Input)) is { } input)
        {
            Read.OneOf("input", input, DataSets.Names);
        }
    }

    protected override void Run(Terminal terminal, CancellationToken cancellation)
    {
        var from = From ?? throw new UsageException("import needs --from, the file of the weights");
        var (names, target) = (Names.Value, Target.Required(this, "network.bin"));
        var (network, description) = Source(from, names);
        using (network)
        {
            var made = Described(description);
            var deep = Deeper(made);
            if (deep.Difference(made) is null)
            {
                NetworkFile.Save(target, network, deep);
                NetworkFileRow.Show(terminal, target, network, deep.Summary);
                return;
            }

            Require(deep, "stretch-to");
            using var deeper = Build(deep);
            Copy(network, deeper);
            NetworkFile.Save(target, deeper, deep);
            NetworkFileRow.Show(terminal, target, deeper, deep.Summary);
        }
    }

    private static nn.Module<Tensor, Tensor> Build(NetworkDescription description)
    {
        try
        {
            return description.Build();
        }
        catch (ArgumentException exception)
        {
            throw new UsageException(exception.Message);
        }
    }

    private static void Copy(nn.Module source, nn.Module target)
    {
        try
        {
            DepthTransfer.Copy(source, target);
        }
        catch (ArgumentException exception)
        {
            throw new UsageException($"--stretch-to: {exception.Message}");
        }
    }

    // By its own description, or by the options.
    private (nn.Module<Tensor, Tensor> Network, NetworkDescription Description) Source(string from, WeightNames? names)
    {
        if (NetworkFile.Describe(from) is not null)
        {
            RefuseOptions(from, "names");
            return NetworkFile.Load(from);
        }

        var network = Built(new StageOptions(), Load);
        NamesGroup.Guarded(() => NetworkFile.LoadInto(from, network, names));
        return (network, NetworkDescription.Of(network)!);
    }

    private static Workload Load => new(CPU, 1, 32, 1);

    private static void Require(NetworkDescription network, string option) => MemoryNeed.RequireWeights(
        $"--{option} is {network.Depth?.ToString(CultureInfo.InvariantCulture) ?? network.Size}", network.Parameters, 0, Load,
        $"a smaller --{option}");

    private NetworkDescription Described(NetworkDescription description)
    {
        var (input, names) = (description.Input, description.ClassNames);
        if (Input is { } dataset)
        {
            var augmentation = DataSets.AugmentationOf(dataset);
            if (ImageSize is { } size)
            {
                augmentation = DataSets.IsResized(dataset)
                    ? DataSets.Sized(augmentation, Read.Whole("image-size", size))
                    : throw new UsageException($"--image-size is for image-folder and imagenet, --input is {dataset}");
            }

            input = InputDescription.Of(augmentation);
        }
        else
        {
            Unused("image-size", "without --input it is not known how images are normalized");
        }

        return description with { Input = input, ClassNames = ClassNames is { } file ? ReadNames(file, description.Classes) : names };
    }

    private NetworkDescription Deeper(NetworkDescription description)
    {
        if (Untie == true)
        {
            description = description.Kind == "tied"
                ? description with { Kind = "ode" }
                : throw new UsageException($"--untie is for tied networks, this one is {description.Kind}");
        }

        if (StretchTo is not { } text)
        {
            return description;
        }

        return description.Depth is not null
            ? description with { Depth = Read.WholeOf("stretch-to", text, "depth") }
            : description with { Size = $"{Read.Checked("stretch-to", text, NetworkSize.Parse)}" };
    }

    private static IReadOnlyList<string> ReadNames(string path, int classes)
    {
        const long most = 1 << 24;
        string text;
        try
        {
            text = RegularFile.ReadAllText(path, most);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be read: {exception.Message}", exception);
        }

        List<string> names = [.. text.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n').Select(line => line.Trim())];
        return names.Count != classes
            ? throw new ResNetNodesException($"{path}: has {names.Count} lines, and the network {classes} classes")
            : names.Any(name => name.Length == 0 || name.Any(char.IsControl)) || names.Distinct().Count() < classes
            ? throw new ResNetNodesException($"{path}: names a class twice, or one of its lines is no name")
            : names;
    }
}
