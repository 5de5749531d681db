using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>Which tensor of a file goes where; or in one line what does not fit.</summary>
internal sealed class WeightsFit
{
    // More would be no line that anyone reads.
    private const int MostNamed = 3;
    // Counts batches and enters no result; files from before PyTorch 0.4.1 lack it, and PyTorch reads those.
    private const string Counter = "num_batches_tracked";

    private readonly List<string> misfits = [];

    /// <param name="path">The file, for messages.</param>
    /// <param name="stored">What it holds.</param>
    /// <param name="own">The network's tensors.</param>
    /// <param name="names">How the file names them; null: as the network does.</param>
    /// <param name="except">Tensors of the network, or modules, that keep their values.</param>
    /// <exception cref="ArgumentException">The network has nothing of a name in <paramref name="except"/>.</exception>
    /// <exception cref="ResNetNodesException">Something does not fit.</exception>
    public WeightsFit(
        string path, IReadOnlyList<StoredTensor> stored, IReadOnlyDictionary<string, Tensor> own, WeightNames? names,
        IReadOnlyCollection<string> except)
    {
        if (except.FirstOrDefault(kept => !own.Keys.Any(name => IsIn(name, kept))) is { } odd)
        {
            throw new ArgumentException($"'{odd}' is neither a tensor nor a module of the network", nameof(except));
        }

        bool IsKept(string name) => except.Any(kept => IsIn(name, kept));
        var given = new Dictionary<string, StoredTensor>();
        foreach (var tensor in stored)
        {
            // What no rule is about is nothing of the network, whatever it is called.
            var ours = names is null ? tensor.Name : names.ToOurs(tensor.Name) ?? $"\0{tensor.Name}";
            if (!given.TryAdd(ours, tensor))
            {
                misfits.Add($"its {Shown(given[ours].Name)} and {Shown(tensor.Name)} are both {ours} by the names of {names}");
            }
        }

        var present = own.Where(entry => given.ContainsKey(entry.Key)).Select(entry => entry.Value.Handle).ToHashSet();
        foreach (var (name, target) in own.Where(entry => !IsKept(entry.Key)))
        {
            if (!given.TryGetValue(name, out var tensor))
            {
                Miss(name, target, names, present);
            }
            else if (tensor.Type != target.dtype || !tensor.Shape.SequenceEqual(target.shape))
            {
                misfits.Add($"its {Shown(tensor.Name)} is {tensor.Text}, here {StoredTensor.TextOf(target.dtype, target.shape)}");
            }
            else
            {
                Pairs.Add((tensor, target));
            }
        }

        misfits.AddRange(given.Where(entry => !own.ContainsKey(entry.Key) && !IsKept(entry.Key)).Select(
            entry => $"its {Shown(entry.Value.Name)}, {entry.Value.Text}, is not in the network"));
        if (misfits.Count > 0)
        {
            var more = misfits.Count > MostNamed ? $"; and {misfits.Count - MostNamed} more" : string.Empty;
            throw new ResNetNodesException(
                $"{path}: does not fit the network: {string.Join("; ", misfits.Take(MostNamed))}{more}. Nothing was changed");
        }
    }

    /// <summary>Tensors of the file, and where they go.</summary>
    public List<(StoredTensor Stored, Tensor Target)> Pairs { get; } = [];

    /// <summary>Counters that the file does not have: they begin at 0.</summary>
    public List<Tensor> Zeros { get; } = [];

    private static bool IsIn(string name, string module) => name == module || name.StartsWith(module + ".", StringComparison.Ordinal);

    private static string Shown(string name) => OneLine.Of(name, 100);

    private void Miss(string name, Tensor target, WeightNames? names, HashSet<IntPtr> present)
    {
        if (present.Contains(target.Handle))
        {
            return;
        }

        if (name.EndsWith($".{Counter}", StringComparison.Ordinal) && target.Dimensions == 0)
        {
            Zeros.Add(target);
            return;
        }

        var theirs = names?.ToTheirs(name) ?? name;
        misfits.Add($"it has no {theirs}, here {StoredTensor.TextOf(target.dtype, target.shape)}");
    }
}
