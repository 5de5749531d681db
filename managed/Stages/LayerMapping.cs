using ResNetNodes.Interop;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>Residual functions made of known modules, as the native engine's layers; or the reason why they can't be.</summary>
internal sealed class LayerMapping
{
    private readonly List<nn.Module> leaves = [];
    private readonly List<BatchNorm2d> batchNorms = [];

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
        reason = string.Empty;
        for (var i = 0; i < functions.Count; i++)
        {
            var spec = new FunctionSpec();
            var layers = new LayerList();
            foreach (var leaf in Flatten(functions[i]))
            {
                if (mapping.Describe(leaf, out var why) is not { } layer)
                {
                    reason = $"function {i}: {leaf.GetName()} {why}";
                    return null;
                }

                mapping.leaves.Add(leaf);
                layers.Add(layer);
            }

            if (layers.Count == 0)
            {
                reason = $"function {i} has no layers";
                return null;
            }

            spec.Layers = layers;
            mapping.Functions.Add(spec);
        }

        return mapping;
    }

    /// <summary>The parameters as they are now, in the order of the native engine. Modules replace theirs in <c>to</c>.</summary>
    public List<Tensor> Parameters()
    {
        var list = new List<Tensor>();
        foreach (var leaf in leaves)
        {
            var (weight, bias) = leaf switch
            {
                Conv2d conv => (conv.weight, conv.bias),
                Linear linear => (linear.weight, linear.bias),
                BatchNorm2d norm => (norm.weight, norm.bias),
                _ => (null, null),
            };
            if (weight is not null)
            {
                list.Add(weight);
            }

            if (bias is not null)
            {
                list.Add(bias);
            }
        }

        return list;
    }

    /// <summary>The running statistics as they are now.</summary>
    public List<Tensor> Buffers()
    {
        var list = new List<Tensor>();
        foreach (var norm in batchNorms.Where(norm => norm.track_running_stats))
        {
            list.Add(norm.running_mean!);
            list.Add(norm.running_var!);
        }

        return list;
    }

    /// <summary>The engine knows one mode for a whole stage.</summary>
    public void CheckModes(bool training)
    {
        foreach (var norm in batchNorms)
        {
            if (norm.training != training)
            {
                throw new ResNetNodesException(
                    $"a BatchNorm2d is in {Mode(norm.training)} mode in a stage in {Mode(training)} mode; switch the whole stage, or take StageExecution.Callback");
            }
        }
    }

    /// <summary>Counts a training forward pass in each batch normalization, as its module does.</summary>
    /// <param name="uses">How often function i runs in one forward pass.</param>
    public void CountBatches(Func<int, int> uses)
    {
        using var guard = no_grad();
        // At most two numbers: a scalar of its own for each norm would be half of the time that this takes.
        var scalars = new Dictionary<int, Scalar>();
        for (var i = 0; i < batchNorms.Count; i++)
        {
            if (batchNorms[i].track_running_stats && batchNorms[i].num_batches_tracked is { } count)
            {
                var number = uses(functionOfNorm[i]);
                if (!scalars.TryGetValue(number, out var scalar))
                {
                    scalars[number] = scalar = ((long)number).ToScalar();
                }

                count.add_(scalar);
            }
        }

        foreach (var scalar in scalars.Values)
        {
            scalar.Dispose();
        }
    }

    private readonly List<int> functionOfNorm = [];

    private static string Mode(bool training) => training ? "training" : "evaluation";

    private static IEnumerable<nn.Module> Flatten(nn.Module module) =>
        module.GetType() == typeof(Sequential) ? module.children().SelectMany(Flatten) : [module];

    private LayerSpec? Describe(nn.Module module, out string why)
    {
        why = string.Empty;
        switch (module)
        {
            case Conv2d conv:
                why = Unsupported(conv);
                return why.Length > 0 ? null : Convolution(conv);
            case Linear linear:
                return new LayerSpec
                {
                    Kind = LayerKind.Linear,
                    InFeatures = linear.in_features,
                    OutFeatures = linear.out_features,
                    Bias = linear.bias is not null,
                };
            case BatchNorm2d norm:
                if (norm.track_running_stats && norm.momentum is null)
                {
                    why = "averages its statistics cumulatively (momentum is null)";
                    return null;
                }

                functionOfNorm.Add(Functions.Count);
                batchNorms.Add(norm);
                return new LayerSpec
                {
                    Kind = LayerKind.BatchNorm2d,
                    InFeatures = norm.num_features,
                    Affine = norm.affine,
                    TrackStatistics = norm.track_running_stats,
                    Epsilon = norm.eps,
                    Momentum = norm.momentum ?? 0,
                };
            case ReLU:
                return new LayerSpec { Kind = LayerKind.Relu };
            case Tanh:
                return new LayerSpec { Kind = LayerKind.Tanh };
            case GELU gelu:
                return new LayerSpec { Kind = LayerKind.Gelu, TanhApproximation = gelu.approximate == GELU.Approximate.tanh };
            case Identity:
                return new LayerSpec { Kind = LayerKind.Identity };
            default:
                why = "is not one of Conv2d, Linear, BatchNorm2d, ReLU, Tanh, GELU, Identity";
                return null;
        }
    }

    private static string Unsupported(Conv2d conv)
    {
        if (conv.stride.Any(s => s != 1))
        {
            return $"has stride {string.Join('x', conv.stride)}, expected 1";
        }

        if (conv.padding_mode != PaddingModes.Zeros)
        {
            return $"pads by {conv.padding_mode}, expected zeros";
        }

        return conv.padding_type is null ? string.Empty : $"pads by the rule {conv.padding_type}, expected numbers";
    }

    private static LayerSpec Convolution(Conv2d conv) => new()
    {
        Kind = LayerKind.Conv2d,
        InFeatures = conv.in_channels,
        OutFeatures = conv.out_channels,
        KernelHeight = conv.kernel_size[0],
        KernelWidth = conv.kernel_size[^1],
        PaddingHeight = conv.padding![0],
        PaddingWidth = conv.padding[^1],
        DilationHeight = conv.dilation[0],
        DilationWidth = conv.dilation[^1],
        Groups = conv.groups,
        Bias = conv.bias is not null,
    };
}
