using ResNetNodes.Interop;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>Residual functions made of known modules, as the native engine's layers; or the reason why they can't be.</summary>
internal sealed class LayerMapping
{
    private readonly List<(LayerRow Row, nn.Module Module)> layers = [];
    private readonly List<(BatchNorm2d Module, int Function)> norms = [];

    private LayerMapping()
    {
    }

    /// <summary>The functions as the native engine reads them.</summary>
    public FunctionList Functions { get; } = [];

    /// <summary>Maps all functions, or says what stands in the way.</summary>
    /// <param name="functions">The residual functions.</param>
    /// <param name="reason">Why they can't be native layers; empty where they can.</param>
    /// <returns>The mapping, or null.</returns>
    public static LayerMapping? TryMap(IReadOnlyList<nn.Module> functions, out string reason)
    {
        var mapping = new LayerMapping();
        for (var i = 0; i < functions.Count; i++)
        {
            reason = mapping.Add(functions[i], i);
            if (reason.Length > 0)
            {
                return null;
            }
        }

        reason = string.Empty;
        return mapping;
    }

    /// <summary>The parameters as they are now, in the order of the native engine.</summary>
    public List<Tensor> Parameters() => [.. layers.SelectMany(layer => layer.Row.Parameters(layer.Module)).OfType<Tensor>()];

    /// <summary>The running statistics as they are now.</summary>
    public List<Tensor> Buffers()
    {
        var list = new List<Tensor>();
        foreach (var (norm, _) in norms.Where(norm => norm.Module.track_running_stats))
        {
            list.Add(norm.running_mean!);
            list.Add(norm.running_var!);
        }

        return list;
    }

    /// <summary>The engine knows one mode for a whole stage.</summary>
    public void CheckModes(bool training)
    {
        foreach (var (norm, _) in norms)
        {
            if (norm.training != training)
            {
                throw new ResNetNodesException(
                    $"a BatchNorm2d is in {Mode(norm.training)} mode in a stage in {Mode(training)} mode; switch the whole stage, or use StageExecution.Callback");
            }
        }
    }

    /// <summary>Counts a training forward pass in each batch normalization, as its module does.</summary>
    /// <param name="uses">How often function i runs in one forward pass.</param>
    public void CountBatches(Func<int, long> uses)
    {
        using var guard = no_grad();
        // A few numbers at most: a scalar of its own for each norm would be half of the time that this takes.
        var scalars = new Dictionary<long, Scalar>();
        foreach (var (norm, function) in norms)
        {
            if (norm.track_running_stats && norm.num_batches_tracked is { } count)
            {
                var number = uses(function);
                if (!scalars.TryGetValue(number, out var scalar))
                {
                    scalars[number] = scalar = number.ToScalar();
                }

                count.add_(scalar);
            }
        }

        foreach (var scalar in scalars.Values)
        {
            scalar.Dispose();
        }
    }

    private static string Mode(bool training) => training ? "training" : "evaluation";

    private static IEnumerable<nn.Module> Flatten(nn.Module module) =>
        module.GetType() == typeof(Sequential) ? module.children().SelectMany(Flatten) : [module];

    // Returns what stands in the way.
    private string Add(nn.Module module, int function)
    {
        var specs = new LayerList();
        foreach (var leaf in Flatten(module))
        {
            var row = LayerTable.Of(leaf);
            var refusal = row?.Refusal(leaf) ?? $"is not one of {string.Join(", ", LayerTable.Rows.Select(known => known.Name))}";
            if (row is null || refusal.Length > 0)
            {
                return $"function {function}: {leaf.GetName()} {refusal}";
            }

            specs.Add(row.Spec(leaf));
            layers.Add((row, leaf));
            if (leaf is BatchNorm2d norm)
            {
                norms.Add((norm, function));
            }
        }

        if (specs.Count == 0)
        {
            return $"function {function} has no layers";
        }

        Functions.Add(new FunctionSpec { Layers = specs });
        return string.Empty;
    }
}
