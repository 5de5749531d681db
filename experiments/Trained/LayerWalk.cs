using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Trained;

/// <summary>
/// A layer. Of a stage one function's are listed: so many copies of its weights there are, and so often each is evaluated in a forward
/// pass of Euler's solver. Parameters are those of all copies.
/// </summary>
internal sealed record LayerRow(string Part, string Layer, string Kind, string Output, int Copies, int Uses, long Parameters);

/// <summary>Finds the layers of a network, and the shapes of what they give, by running one image through them.</summary>
internal static class LayerWalk
{
    /// <summary>The parts of a network, in the order in which they run.</summary>
    /// <param name="network">A TinyResNet or a ResNet.</param>
    public static IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> PartsOf(nn.Module<Tensor, Tensor> network)
    {
        if (network is ResNet staged)
        {
            return staged.Parts;
        }

        var children = network.named_children().ToDictionary(child => child.name, child => (nn.Module<Tensor, Tensor>)child.module);
        return
        [
            ("stem", children["stem"]), ("stage", children["stage"]),
            ("head", nn.Sequential(("pool", children["pool"]), ("flatten", nn.Flatten()), ("head", children["head"]))),
        ];
    }

    /// <summary>The layers of all parts.</summary>
    /// <param name="parts">Names and modules, in evaluation mode.</param>
    /// <param name="input">One image.</param>
    public static IReadOnlyList<LayerRow> Of(IReadOnlyList<(string Name, nn.Module<Tensor, Tensor> Module)> parts, Tensor input)
    {
        using var guard = no_grad();
        using var scope = NewDisposeScope();
        var rows = new List<LayerRow>();
        foreach (var (name, module) in parts)
        {
            input = Walk(new(name, rows, 1, 1), string.Empty, module, input);
        }

        return rows;
    }

    private sealed record Place(string Part, List<LayerRow> Rows, int Copies, int Uses);

    private static Tensor Walk(Place place, string name, nn.Module<Tensor, Tensor> module, Tensor input)
    {
        switch (module)
        {
            case Recomputed recomputed:
                return Walk(place, name, recomputed.Module, input);
            case TorchSharp.Modules.Sequential sequence:
                return sequence.named_children().Aggregate(
                    input, (given, child) => Walk(place, Join(name, child.name), (nn.Module<Tensor, Tensor>)child.module, given));
            case ResidualBlock block:
                var output = Walk(place, Join(name, "branch"), block.Branch, input);
                if (block.Shortcut is { } shortcut)
                {
                    Walk(place, Join(name, "shortcut"), shortcut, input);
                }

                return output;
            case ResidualStage stage:
                var inner = place with { Copies = stage.Functions.Count, Uses = stage.Depth / stage.Functions.Count };
                return Walk(inner, "function", (nn.Module<Tensor, Tensor>)stage.Functions[0], input);
            default:
                var made = module.call(input);
                place.Rows.Add(new(
                    place.Part, name, KindOf(module), string.Join('×', made.shape[1..]), place.Copies, place.Uses,
                    place.Copies * module.parameters().Sum(p => p.numel())));
                return made;
        }
    }

    private static string Join(string name, string child) => name.Length > 0 ? $"{name}.{child}" : child;

    private static string KindOf(nn.Module module) => module switch
    {
        TorchSharp.Modules.Conv2d convolution => $"Conv2d {convolution.weight.shape[2]}×{convolution.weight.shape[3]}",
        _ => module.GetType().Name,
    };
}
