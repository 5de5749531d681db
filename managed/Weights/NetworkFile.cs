using ResNetNodes.Networks;
using ResNetNodes.Training;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>
/// A network in one file, with the description that it is built again from: a checkpoint, or a file of weights
/// (<see cref="WeightsFile"/>), which has the description among its texts.
/// </summary>
public static class NetworkFile
{
    private const string NetworkText = "resnet_nodes.network";

    /// <summary>Writes a network and its description; the file appears whole.</summary>
    /// <param name="path">The file; .safetensors, .pth and .pt are files of weights, all others checkpoints.</param>
    /// <param name="network">The network whose parameters and buffers are written.</param>
    /// <param name="description">Its description; null: as <see cref="NetworkDescription.Of"/> has it.</param>
    /// <param name="names">How a file of weights names the tensors; null: as the network does.</param>
    /// <exception cref="ArgumentException">
    /// The description is that of another network, there is none, or names were given for a checkpoint.
    /// </exception>
    /// <exception cref="ResNetNodesException">The file can't be written, or a tensor has a type that the format has not.</exception>
    public static void Save(string path, nn.Module network, NetworkDescription? description = null, WeightNames? names = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(network);
        var own = NetworkDescription.Of(network)
            ?? throw new ArgumentException("the network is neither a TinyResNet nor a ResNet: nothing describes it", nameof(network));
        var shown = description ?? own;
        if (!WeightsFile.IsWeightsFile(path))
        {
            if (names is not null)
            {
                throw new ArgumentException($"{path}: is to be a checkpoint, which names tensors as the network does", nameof(names));
            }

            Checkpoint.Save(path, network, shown);
            return;
        }

        shown.RequireOf(network, nameof(description));
        WeightsFile.Save(path, network, names, new Dictionary<string, string> { [NetworkText] = shown.ToJson() });
    }

    /// <summary>Which network a file holds.</summary>
    /// <param name="path">A checkpoint, or a file of weights.</param>
    /// <returns>Its description; null where the file has none.</returns>
    /// <exception cref="ResNetNodesException">The file is missing, damaged or of no such format.</exception>
    public static NetworkDescription? Describe(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return WeightsReader.IsCheckpoint(path) ? Checkpoint.Describe(path) : Described(path, WeightsFile.ReadMetadata(path));
    }

    /// <summary>Builds the network of a file, with its weights.</summary>
    /// <param name="path">A checkpoint, or a file of weights.</param>
    /// <returns>The network, in training mode on the CPU, and its description.</returns>
    /// <exception cref="ResNetNodesException">The file is missing, damaged or of no such format, or has no description.</exception>
    public static (nn.Module<Tensor, Tensor> Network, NetworkDescription Description) Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (WeightsReader.IsCheckpoint(path))
        {
            return Checkpoint.LoadNetwork(path);
        }

        var description = Described(path, WeightsFile.ReadMetadata(path))
            ?? throw new ResNetNodesException($"{path}: does not say which network it holds; build it, and read the weights into it");
        var network = description.Build(
            built => WeightsFile.Load(path, built), exception => new ResNetNodesException($"{path}: {exception.Message}", exception));
        return (network, description);
    }

    /// <summary>Reads the weights of a file into a network that is built.</summary>
    /// <param name="path">A checkpoint, or a file of weights.</param>
    /// <param name="network">Receives parameters and buffers.</param>
    /// <param name="names">How a file of weights names the tensors; null: as <see cref="WeightsFile.Load"/> finds out.</param>
    /// <exception cref="ArgumentException">Names were given for a checkpoint.</exception>
    /// <exception cref="ResNetNodesException">
    /// The file is missing, damaged or of no such format, or belongs to another network: the message says what differs. The network is as
    /// it was.
    /// </exception>
    public static void LoadInto(string path, nn.Module network, WeightNames? names = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(network);
        if (!WeightsReader.IsCheckpoint(path) && NetworkDescription.Of(network) is { } here
            && Described(path, WeightsFile.ReadMetadata(path))?.Difference(here) is { } difference)
        {
            throw NetworkDescription.AnotherNetwork(path, difference);
        }

        WeightsFile.Load(path, network, names);
    }

    private static NetworkDescription? Described(string path, IReadOnlyDictionary<string, string> texts)
    {
        if (!texts.TryGetValue(NetworkText, out var json))
        {
            return null;
        }

        try
        {
            var description = NetworkDescription.Parse(json);
            // Whoever asks for more would take the memory of all of it before anything else is found wrong.
            return description.Parameters <= new FileInfo(path).Length
                ? description
                : throw new ArgumentException(
                    $"the network that it describes has {description.Parameters} parameters, more than the file has bytes");
        }
        catch (ArgumentException exception)
        {
            throw new ResNetNodesException($"{path}: {exception.Message}", exception);
        }
    }
}
