using System.Security.Cryptography;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>
/// Parameters and buffers of a network in files that other programs read and write: <c>.safetensors</c>, and <c>.pth</c> or <c>.pt</c> of
/// PyTorch (<c>torch.save(model.state_dict())</c>). Values keep their bits. docs/weights.md tells of names, errors and pickles.
/// </summary>
public static class WeightsFile
{
    private static readonly string[] Pickled = [".pth", ".pt"];

    private const string Safetensors = ".safetensors";

    /// <summary>Writes a network's parameters and buffers: temporary file, flush to the disk, rename.</summary>
    /// <param name="path">The file; its ending, .safetensors, .pth or .pt, is its format.</param>
    /// <param name="model">The network. Tensors may be of any layout and device; the file has them row-major.</param>
    /// <param name="names">How to name the tensors; null: as the network does.</param>
    /// <param name="metadata">Texts to keep beside them, such as the options that the network was built with.</param>
    /// <exception cref="ArgumentException">
    /// The path has another ending, a tensor has no name by the table, or the table is for another kind of network.
    /// </exception>
    /// <exception cref="ResNetNodesException">The file can't be written, or a tensor has a type that the format has not.</exception>
    public static void Save(
        string path, nn.Module model, WeightNames? names = null, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(model);
        var isPickled = IsPickled(path);
        if (!isPickled && !HasEnding(path, Safetensors))
        {
            throw new ArgumentException($"{path}: weights are written to files that end with .safetensors, .pth or .pt", nameof(path));
        }

        if (KnownNames.Refusal(model, names) is { } refusal)
        {
            throw new ArgumentException(refusal, nameof(names));
        }

        var tensors = NamedTensors.Of(model).Select(entry => (Name: NameOf(entry.Key, names), Tensor: entry.Value)).ToList();
        if (tensors.GroupBy(t => t.Name).FirstOrDefault(group => group.Count() > 1) is { } twice)
        {
            throw new ArgumentException($"{names} gives the name {twice.Key} to {twice.Count()} tensors", nameof(names));
        }

        if (tensors.FirstOrDefault(t => !(isPickled ? Pickler.Holds(t.Tensor.dtype) : SafetensorsFile.Holds(t.Tensor.dtype)))
            is { Name: { } odd, Tensor: var tensor })
        {
            throw new ResNetNodesException($"{path}: {odd} is {tensor.dtype}, which such a file can't hold");
        }

        var texts = metadata ?? new Dictionary<string, string>();
        AtomicFile.Write(path, stream =>
        {
            if (isPickled)
            {
                PthFile.Write(stream, tensors, texts);
            }
            else
            {
                SafetensorsFile.Write(stream, tensors, texts);
            }
        });
    }

    /// <summary>
    /// Reads a file into a network: safetensors, a .pth of PyTorch, or a checkpoint of this library, as its first bytes tell. Names, shapes
    /// and types of all tensors are checked before any of them changes.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="model">Receives parameters and buffers.</param>
    /// <param name="names">
    /// How the file names the tensors; null: as the network does, or as torchvision where a <see cref="Networks.ResNet"/> meets such a
    /// file.
    /// </param>
    /// <param name="except">
    /// Tensors or modules of the network, such as "head", that keep their values, whatever the file has for them; null: none.
    /// </param>
    /// <returns>The texts that were saved beside the tensors.</returns>
    /// <exception cref="ArgumentException">The network has nothing of a name in <paramref name="except"/>.</exception>
    /// <exception cref="ResNetNodesException">
    /// The file is missing, damaged or of no such format, its pickle names what is no part of a tensor, or it does not fit the network: the
    /// message has names and shapes of the first three that don't. The network is as it was.
    /// </exception>
    public static IReadOnlyDictionary<string, string> Load(
        string path, nn.Module model, WeightNames? names = null, IReadOnlyCollection<string>? except = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(model);
        if (WeightsReader.IsCheckpoint(path))
        {
            return names is null && except is null or { Count: 0 }
                ? LoadCheckpoint(path, model)
                : throw new ArgumentException(
                    $"{path}: is a checkpoint of this program, which is read whole and by the network's own names");
        }

        using var reader = WeightsReader.Open(path);
        names = KnownNames.For(path, reader.Tensors, model, names);
        var fit = new WeightsFit(path, reader.Tensors, NamedTensors.Of(model), names, except ?? []);
        try
        {
            fit.Pairs.ForEach(pair => reader.Check(pair.Stored));
            RequireOneValue(path, reader, fit);
            foreach (var (stored, target) in fit.Pairs)
            {
                reader.Read(stored, target);
            }
        }
        catch (Exception exception) when (exception is IOException or InvalidDataException)
        {
            throw new ResNetNodesException(
                $"{path}: can no longer be read, and the network may have got a part of it: {exception.Message}; read it again", exception);
        }

        using var guard = no_grad();
        fit.Zeros.ForEach(counter => counter.zero_());
        return reader.Metadata;
    }

    /// <summary>The texts that were saved beside the tensors; none for a checkpoint.</summary>
    /// <param name="path">A file as <see cref="Load"/> reads it.</param>
    /// <returns>Them, by name.</returns>
    /// <exception cref="ResNetNodesException">The file is missing, damaged or of no such format.</exception>
    public static IReadOnlyDictionary<string, string> ReadMetadata(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (WeightsReader.IsCheckpoint(path))
        {
            return new Dictionary<string, string>();
        }

        using var reader = WeightsReader.Open(path);
        return reader.Metadata;
    }

    /// <summary>Whether a path has the ending of a file of weights: .safetensors, .pth or .pt. The file is not looked at.</summary>
    /// <param name="path">The path.</param>
    /// <returns>Whether it has.</returns>
    public static bool IsWeightsFile(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return IsPickled(path) || HasEnding(path, Safetensors);
    }

    private static bool IsPickled(string path) => Pickled.Any(ending => HasEnding(path, ending));

    private static bool HasEnding(string path, string ending) => path.EndsWith(ending, StringComparison.OrdinalIgnoreCase);

    private static string NameOf(string name, WeightNames? names) =>
        names is null ? name : names.ToTheirs(name) ?? throw new ArgumentException($"{names} has no rule for {name}", nameof(names));

    private static Dictionary<string, string> LoadCheckpoint(string path, nn.Module model)
    {
        Checkpoint.Load(path, model, null);
        return [];
    }

    // Tensors of one memory, by several names: the file has to have one value for it, or what comes last would win.
    private static void RequireOneValue(string path, WeightsReader reader, WeightsFit fit)
    {
        foreach (var shared in fit.Pairs.GroupBy(pair => pair.Target.Handle).Where(group => group.Count() > 1))
        {
            if (shared.Select(pair => Digest(reader, pair.Stored)).Distinct().Count() > 1)
            {
                throw new ResNetNodesException(
                    $"{path}: {string.Join(" and ", shared.Select(pair => pair.Stored.Name))} are one tensor in the network, and have "
                    + "different values here. Nothing was changed");
            }
        }
    }

    // Equal values by their bits: no number, too.
    private static string Digest(WeightsReader reader, StoredTensor stored)
    {
        using var value = empty([.. stored.Shape], stored.Type);
        reader.Read(stored, value);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        TensorBytes.Read(value, hash.AppendData);
        return Convert.ToHexString(hash.GetHashAndReset());
    }
}
