using ResNetNodes.Networks;
using static TorchSharp.torch;

namespace ResNetNodes.Weights;

/// <summary>Tables that are meant for one kind of network: in others such weights may fit by shape, and compute something else.</summary>
internal static class KnownNames
{
    /// <summary>The table by which a file is read: the given one, or torchvision's where a ResNet meets a file of its names.</summary>
    /// <param name="path">The file, for messages.</param>
    /// <param name="stored">What it holds.</param>
    /// <param name="model">What receives it.</param>
    /// <param name="given">The caller's table; null for none.</param>
    /// <exception cref="ResNetNodesException">The network is of another kind than the table.</exception>
    public static WeightNames? For(string path, IReadOnlyList<StoredTensor> stored, nn.Module model, WeightNames? given)
    {
        if (given is null && model is ResNet && stored.Count > 0
            && stored.All(tensor => WeightNames.Torchvision.ToOurs(tensor.Name) is not null))
        {
            given = WeightNames.Torchvision;
        }

        return Refusal(model, given) is { } refusal
            ? throw new ResNetNodesException($"{path}: has the names of torchvision's ResNets, and {refusal}. Nothing was changed")
            : given;
    }

    /// <summary>Why a network can't have the names of a table; null where it can.</summary>
    public static string? Refusal(nn.Module model, WeightNames? names) =>
        names == WeightNames.Torchvision && model is ResNet { Options.Kind: not ResNetKind.Torchvision and var kind }
            ? $"a network of the kind {kind} computes something else with such weights; build it with ResNetKind.Torchvision "
                + "(--network torchvision)"
            : null;
}
