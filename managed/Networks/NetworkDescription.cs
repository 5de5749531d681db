using System.Text.Json;
using System.Text.Json.Serialization;
using ResNetNodes.Data;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Networks;

/// <summary>
/// Which network a file of weights belongs to: all that its outputs depend on beside the weights, and how its stages were differentiated.
/// Checkpoints hold it, so that their network can be built again. A value that is written as JSON.
/// </summary>
/// <param name="Kind">
/// tiny for a <see cref="TinyResNet"/>; for a <see cref="ResNet"/> its <see cref="ResNetKind"/> in small letters.
/// </param>
/// <param name="Depth">Residual functions of a <see cref="TinyResNet"/>; null for a <see cref="ResNet"/>.</param>
/// <param name="Size">
/// Blocks of a <see cref="ResNet"/>, as <see cref="NetworkSize"/> writes them; null for a <see cref="TinyResNet"/>.
/// </param>
/// <param name="Planes">Channels of a <see cref="TinyResNet"/>'s stage, or planes of a <see cref="ResNet"/>'s first one.</param>
/// <param name="Classes">Classes.</param>
/// <param name="InputChannels">Channels of the images.</param>
/// <param name="ImageNetStem">Whether its stem is that for ImageNet.</param>
/// <param name="ZeroInit">Whether its residual functions began at 0.</param>
/// <param name="Solver">Of its stages (<see cref="ResNetNodes.Solver"/>).</param>
/// <param name="Reconstruction">Of its stages (<see cref="ResNetNodes.Reconstruction"/>), as they were built.</param>
/// <param name="StepSize">Of its stages; null stands for 1/N.</param>
/// <param name="AdjointFrom">Stages of fewer functions store their states.</param>
/// <param name="ComputeType">What its residual functions are evaluated in (<see cref="ResNetNodes.ComputeType"/>).</param>
/// <param name="Type">Number type of its parameters.</param>
/// <param name="Input">The images that it takes; null where they are not known.</param>
/// <param name="ClassNames">The classes' names in order; null where they are not known.</param>
public sealed record NetworkDescription(
    string Kind,
    int? Depth,
    string? Size,
    int Planes,
    int Classes,
    int InputChannels,
    bool ImageNetStem,
    bool ZeroInit,
    string Solver,
    string Reconstruction,
    double? StepSize,
    int AdjointFrom,
    string ComputeType,
    string Type,
    InputDescription? Input,
    IReadOnlyList<string>? ClassNames)
{
    private const string TinyKind = "tiny";
    // What is wrong with a number that is none is for Problem to say.
    private static readonly JsonSerializerOptions Json = new(JsonSerializerOptions.Strict)
    {
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        TypeInfoResolver = DescriptionJson.Default,
    };

    /// <summary>The networks that there are a description of: their kinds.</summary>
    internal static IReadOnlyList<string> Kinds { get; } = [TinyKind, .. Enum.GetValues<ResNetKind>().Select(NameOf)];

    /// <summary>What is wrong with it, as a phrase; null where nothing is.</summary>
    internal string? Problem
    {
        get
        {
            if (!Kinds.Contains(Kind) || (Kind == TinyKind ? Depth is null || Size is not null : Size is null || Depth is not null))
            {
                return $"'{OneLine.Of(Kind)}' of {Depth?.ToString() ?? "no"} depth and {OneLine.Of(Size ?? "no")} size";
            }

            if (ClassNames is not null && (ClassNames.Count != Classes || ClassNames.Any(name => name is null)))
            {
                return $"{ClassNames.Count} names for {Classes} classes";
            }

            if (Depth is < 1 or > NetworkSize.MostBlocks || Planes is < 1 or > MostPlanes || Classes < 1 || InputChannels < 1
                || AdjointFrom < 1)
            {
                return $"a depth of {Depth}, {Planes} planes, {Classes} classes, {InputChannels} channels or an adjoint from {AdjointFrom}";
            }

            if (Input is { } input && input.Channels != InputChannels)
            {
                return $"images of {input.Channels} channels for {InputChannels}";
            }

            try
            {
                _ = (Size is null ? null : NetworkSize.Parse(Size), NumberType());
                Stage().Validate();
                return Input?.Problem;
            }
            catch (ArgumentException exception)
            {
                return OneLine.Of(exception.Message);
            }
        }
    }

    /// <summary>How many numbers the network learns.</summary>
    internal double Parameters => Kind == TinyKind ? ParameterCounts.Of(Tiny()) : ParameterCounts.Of(Staged());

    // Eight times as many in the last stage, and four times that between its blocks: still a number of 32 bits.
    private const int MostPlanes = 1 << 16;

    /// <summary>What is thrown where a file holds another network than the one at hand.</summary>
    /// <param name="path">The file.</param>
    /// <param name="difference">In what they differ.</param>
    /// <param name="inner">What was found, if that helps.</param>
    internal static ResNetNodesException AnotherNetwork(string path, string difference, Exception? inner = null) =>
        new($"{path}: belongs to another network ({difference}); use the options that it was trained with", inner);

    /// <summary>Checks that this is the description of a network, before it is written beside its weights.</summary>
    /// <param name="network">The network.</param>
    /// <param name="argument">What the caller calls the description.</param>
    /// <exception cref="ArgumentException">It is that of another, or contradicts itself.</exception>
    internal void RequireOf(nn.Module network, string argument)
    {
        var wrong = Problem ?? Of(network) switch
        {
            null => "there is none of this network",
            var own => Difference(own),
        };
        if (wrong is not null)
        {
            throw new ArgumentException($"the description does not fit the network: {wrong}", argument);
        }
    }

    /// <summary>Builds the network, and fills it; where that fails it is disposed.</summary>
    /// <param name="fill">Reads its weights.</param>
    /// <param name="refusal">What is thrown where there is no such network.</param>
    internal nn.Module<Tensor, Tensor> Build(Action<nn.Module<Tensor, Tensor>> fill, Func<ArgumentException, ResNetNodesException> refusal)
    {
        nn.Module<Tensor, Tensor> network;
        try
        {
            network = Build();
        }
        catch (ArgumentException exception)
        {
            throw refusal(exception);
        }

        try
        {
            fill(network);
            return network;
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    /// <summary>The same, with what the network was trained on.</summary>
    internal NetworkDescription TrainedOn(InputDescription? input, IReadOnlyList<string>? classNames) =>
        this with { Input = input, ClassNames = classNames };

    /// <summary>Describes a network as it is now.</summary>
    /// <param name="network">The network.</param>
    /// <returns>
    /// The description, without <see cref="Input"/> and <see cref="ClassNames"/>; null for another network than a <see cref="TinyResNet"/>
    /// or <see cref="ResNet"/>, and where the stages of one were given different options since it was built.
    /// </returns>
    public static NetworkDescription? Of(nn.Module network)
    {
        ArgumentNullException.ThrowIfNull(network);
        var given = network.modules().OfType<ILearningStage>().Select(stage => stage.Given).ToList();
        return given.DistinctBy(stage => (stage.Solver.Name, stage.StepSize, stage.ComputeType)).Count() > 1 ? null : network switch
        {
            TinyResNet { Options: var tiny } => With(
                TinyKind, tiny.Depth, null, tiny.Planes, tiny.Classes, tiny.InputChannels, false, tiny.ZeroInit, 1,
                given[0], tiny.Stage.Reconstruction, network),
            ResNet { Options: var staged } => With(
                NameOf(staged.Kind), null, $"{staged.Size}", staged.Planes, staged.Classes, staged.InputChannels, staged.HasImageNetStem,
                staged.ZeroInitResidual, staged.AdjointFrom, given.Count > 0 ? given[0] : staged.Stage, staged.Stage.Reconstruction,
                network),
            _ => null,
        };
    }

    /// <summary>Reads a description; the inverse of <see cref="ToJson"/>.</summary>
    /// <param name="json">A JSON object: nothing missing, nothing unknown.</param>
    /// <returns>The description.</returns>
    /// <exception cref="ArgumentException">It is none, or contradicts itself.</exception>
    public static NetworkDescription Parse(string json)
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            var description = JsonSerializer.Deserialize<NetworkDescription>(json, Json);
            return (description is null ? "it has no content" : description.Problem) is { } problem
                ? throw new ArgumentException($"the description of the network can't be: {problem}")
                : description!;
        }
        catch (JsonException exception)
        {
            throw new ArgumentException(
                $"the description of the network can't be read ({OneLine.Of(exception.Message.Split('\n')[0].TrimEnd('.', '\r'))})",
                exception);
        }
    }

    /// <summary>The description as JSON, in one line.</summary>
    /// <returns>Text that <see cref="Parse"/> reads.</returns>
    public string ToJson() => JsonSerializer.Serialize(this, Json);

    /// <summary>Builds the network, with weights as they are before training. LibTorch's global generator is not moved.</summary>
    /// <returns>A <see cref="TinyResNet"/> or a <see cref="ResNet"/>.</returns>
    /// <exception cref="ArgumentException">The description contradicts itself.</exception>
    public nn.Module<Tensor, Tensor> Build()
    {
        if (Problem is { } problem)
        {
            throw new ArgumentException($"the network can't be built: {problem}");
        }

        nn.Module<Tensor, Tensor> network = Kind == TinyKind ? new TinyResNet(Tiny()) : new ResNet(Staged());
        network.to(NumberType());
        return network;
    }

    /// <summary>Equal by values.</summary>
    /// <param name="other">The other.</param>
    /// <returns>Whether both describe the same network.</returns>
    public bool Equals(NetworkDescription? other) => other is not null && ToJson() == other.ToJson();

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Kind, Depth, Size, Planes, Classes, Solver);

    /// <summary>
    /// Where weights of this network are none of another: "its depth is 8, here 4"; null where they are. Solver and reconstruction are not
    /// compared, weights may go from one to the other.
    /// </summary>
    internal string? Difference(NetworkDescription other)
    {
        var size = Size is not null && other.Size is not null && NetworkSize.Parse(Size) == NetworkSize.Parse(other.Size);
        (string Name, object? Its, object? Here)[] pairs =
        [
            ("kind", Kind, other.Kind),
            ("depth", Depth, other.Depth),
            ("size", Size, size ? Size : other.Size),
            ("number of planes", Planes, other.Planes),
            ("number of classes", Classes, other.Classes),
            ("number of input channels", InputChannels, other.InputChannels),
            ("stem", StemName, other.StemName),
            ("number type", Type, other.Type),
        ];
        return pairs.Where(pair => !Equals(pair.Its, pair.Here)).Select(pair => $"its {pair.Name} is {pair.Its}, here {pair.Here}")
            .FirstOrDefault();
    }

    /// <summary>The network in a few words: "tiny, depth 16, 16 planes, 10 classes, euler".</summary>
    internal string Summary =>
        $"{Kind}, {(Depth is { } depth ? $"depth {depth}" : $"size {Size}")}, {Planes} planes, {Classes} classes, {Solver}";

    private string StemName => ImageNetStem ? "that for ImageNet" : "that for small images";

    private static NetworkDescription With(
        string kind, int? depth, string? size, int planes, int classes, int channels, bool imageNetStem, bool zeroInit, int adjointFrom,
        StageOptions stage, Reconstruction reconstruction, nn.Module network) => new(
            kind, depth, size, planes, classes, channels, imageNetStem, zeroInit, stage.Solver.Name, $"{reconstruction}", stage.StepSize,
            adjointFrom, $"{stage.ComputeType}", $"{network.parameters().First().dtype}", null, null);

    private static string NameOf(ResNetKind kind) => kind.ToString().ToLowerInvariant();

    private StageOptions Stage() => new()
    {
        Solver = ResNetNodes.Solver.Parse(Solver),
        Reconstruction = ResNetNodes.Reconstruction.Parse(Reconstruction),
        StepSize = StepSize,
        ComputeType = Named<ComputeType>(ComputeType, "compute type"),
    };

    private TinyResNetOptions Tiny() => new()
    {
        Depth = Depth!.Value,
        Planes = Planes,
        Classes = Classes,
        InputChannels = InputChannels,
        ZeroInit = ZeroInit,
        Stage = Stage(),
        Seed = 0,
    };

    private ResNetOptions Staged() => new()
    {
        Kind = Enum.GetValues<ResNetKind>().First(kind => NameOf(kind) == Kind),
        Size = NetworkSize.Parse(Size!),
        Planes = Planes,
        Classes = Classes,
        InputChannels = InputChannels,
        ImageNetStem = ImageNetStem,
        ZeroInitResidual = ZeroInit,
        AdjointFrom = AdjointFrom,
        Stage = Stage(),
        Seed = 0,
    };

    private ScalarType NumberType() => Named<ScalarType>(Type, "number type") is var type && IsReal(type)
        ? type
        : throw new ArgumentException($"number type '{Type}' is none of parameters");

    private static bool IsReal(ScalarType type) =>
        type is ScalarType.Float32 or ScalarType.Float64 or ScalarType.BFloat16 or ScalarType.Float16;

    private static T Named<T>(string text, string what)
        where T : struct, Enum => Enum.GetNames<T>().Contains(text)
        ? Enum.Parse<T>(text)
        : throw new ArgumentException($"{what} '{text}' is unknown; expected {Suggestion.List(Enum.GetNames<T>())}");
}

/// <summary>How a description is written, member by member: known when this is compiled, for applications that are trimmed.</summary>
[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(NetworkDescription))]
internal sealed partial class DescriptionJson : JsonSerializerContext;
