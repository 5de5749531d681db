using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>A network's parameters and buffers by all of their names.</summary>
internal static class NamedTensors
{
    /// <summary>
    /// The network's <c>state_dict</c>, which has a tensor that several modules share by its first name alone, and its other names behind
    /// that, as PyTorch's has them.
    /// </summary>
    public static Dictionary<string, Tensor> Of(nn.Module model)
    {
        var all = model.state_dict();
        var known = all.Values.Select(tensor => tensor.Handle).ToHashSet();
        foreach (var (name, tensor) in Walk(model, string.Empty).Where(entry => known.Contains(entry.Tensor.Handle)))
        {
            all.TryAdd(name, tensor);
        }

        return all;
    }

    private static IEnumerable<(string Name, Tensor Tensor)> Walk(nn.Module module, string prefix) =>
        module.named_parameters(recurse: false).Select(entry => (prefix + entry.name, (Tensor)entry.parameter))
            .Concat(module.named_buffers(recurse: false).Select(entry => (prefix + entry.name, entry.buffer)))
            .Concat(module.named_children().SelectMany(child => Walk(child.module, $"{prefix}{child.name}.")));
}
