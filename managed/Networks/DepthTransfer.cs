using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Networks;

/// <summary>
/// Transfers weights from one depth to another: function i of a stage of depth b takes those of function ⌊i·a/b⌋ of the same stage
/// of depth a (paper, figure 4), and the one function of a tied stage goes to all (untying; paper, table 2). Everything else is
/// copied as it is.
/// </summary>
public static class DepthTransfer
{
    /// <summary>Copies parameters and buffers of a network into one that differs from it only in the depth of its stages.</summary>
    /// <param name="source">The network to copy from; it is not changed.</param>
    /// <param name="target">The network to copy to; its stages may be deeper or shallower, and untied where the source's are tied.</param>
    /// <exception cref="ArgumentException">
    /// The networks differ in more than depth; the message says where. The target is left as it was.
    /// </exception>
    public static void Copy(nn.Module source, nn.Module target)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(target);
        var from = Stages(source);
        var to = Stages(target);
        if (!from.Keys.Order().SequenceEqual(to.Keys.Order()))
        {
            throw new ArgumentException($"target has the stages {Names(to.Keys)}, expected {Names(from.Keys)} like the source");
        }

        var pairs = new List<(Tensor From, Tensor To)>();
        Pair(Outside(source, from.Keys), Outside(target, to.Keys), "the network", pairs);
        foreach (var (name, stage) in to)
        {
            var (given, taken) = (from[name].Functions, stage.Functions);
            if (taken.Count == 1 && given.Count > 1)
            {
                throw new ArgumentException(
                    $"{name} has {given.Count} functions in the source and one in the target, expected a target that is not tied");
            }

            for (var i = 0; i < taken.Count; i++)
            {
                Pair(given[(int)((long)i * given.Count / taken.Count)].state_dict(), taken[i].state_dict(), $"{name}, function {i}", pairs);
            }
        }

        using var guard = no_grad();
        foreach (var (value, place) in pairs)
        {
            place.copy_(value);
        }
    }

    private static Dictionary<string, ResidualStage> Stages(nn.Module network) =>
        network.named_modules().Where(m => m.module is ResidualStage).ToDictionary(m => m.name, m => (ResidualStage)m.module);

    private static Dictionary<string, Tensor> Outside(nn.Module network, IEnumerable<string> stages) =>
        network.state_dict().Where(entry => !stages.Any(s => entry.Key.StartsWith(s + ".", StringComparison.Ordinal))).ToDictionary();

    private static void Pair(
        IReadOnlyDictionary<string, Tensor> source, IReadOnlyDictionary<string, Tensor> target, string where,
        List<(Tensor From, Tensor To)> pairs)
    {
        foreach (var (name, place) in target)
        {
            if (!source.TryGetValue(name, out var value) || !value.shape.SequenceEqual(place.shape))
            {
                var found = value is null ? "is not in the source" : $"is [{string.Join(", ", value.shape)}] in the source";
                throw new ArgumentException($"{where}: {name} {found}, expected [{string.Join(", ", place.shape)}]");
            }

            pairs.Add((value, place));
        }

        if (source.Keys.FirstOrDefault(name => !target.ContainsKey(name)) is { } extra)
        {
            throw new ArgumentException($"{where}: {extra} of the source is not in the target");
        }
    }

    private static string Names(IEnumerable<string> names) => string.Join(", ", names.Order());
}
