using ResNetNodes.Interop;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>Residual functions made of known modules, as the native engine's layers; or the reason why they can't be.</summary>
internal sealed class LayerMapping
{
    // As native layers call it.
    private const long FunctionInput = -1;

    // Counts of batches are shared by all who run a module.
    private static readonly object Counting = new();

    private readonly List<Layer> layers = [];
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
        reason = Obstacle(functions);
        if (reason.Length > 0)
        {
            return null;
        }

        var mapping = new LayerMapping();
        for (var i = 0; i < functions.Count; i++)
        {
            mapping.Add(functions[i], i);
        }

        return mapping;
    }

    /// <summary>What stands in the way of native layers; empty where nothing does. Cheap: may be asked in each run.</summary>
    public static string Obstacle(IReadOnlyList<nn.Module> functions)
    {
        for (var i = 0; i < functions.Count; i++)
        {
            if (Obstacle(functions[i]) is { Length: > 0 } obstacle)
            {
                return $"function {i}{obstacle}";
            }
        }

        return string.Empty;
    }

    /// <summary>
    /// Whether the modules are still what was mapped: their list, their hooks, and whatever the mapping has copied. Cheap: asked in
    /// each run.
    /// </summary>
    public bool IsOf(IReadOnlyList<nn.Module> functions)
    {
        var (function, next) = (0, 0);
        Func<nn.Module, bool> holds = module =>
            !IsHooked(module) && (IsSequence(module) || (next < layers.Count && layers[next++].Is(module, function)));
        while (function < functions.Count && All(functions[function], holds))
        {
            function++;
        }

        return function == functions.Count && next == layers.Count;
    }

    /// <summary>The parameters as they are now, in the order of the native engine.</summary>
    public List<Tensor> Parameters()
    {
        var list = new List<Tensor>();
        foreach (var layer in layers)
        {
            list.AddRange(layer.Row.Parameters(layer.Module).OfType<Tensor>());
        }

        return list;
    }

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

    /// <summary>The mode of each batch normalization as it is now: some may be frozen, whatever the stage's mode is.</summary>
    public int[] Modes() => [.. norms.Select(norm => norm.Module.training ? 1 : 0)];

    /// <summary>Counts a forward pass in each batch normalization that trained in it, as its module does.</summary>
    /// <param name="modes">The modes of that pass.</param>
    /// <param name="uses">How often function i runs in one forward pass.</param>
    public void CountBatches(int[] modes, Func<int, long> uses)
    {
        using var guard = no_grad();
        // A few numbers at most: a scalar of its own for each norm would be half of the time that this takes.
        var scalars = new Dictionary<long, Scalar>();
        lock (Counting)
        {
            for (var i = 0; i < norms.Count; i++)
            {
                var (norm, function) = norms[i];
                if (modes[i] != 0 && norm.track_running_stats && norm.num_batches_tracked is { } count)
                {
                    var number = uses(function);
                    if (!scalars.TryGetValue(number, out var scalar))
                    {
                        scalars[number] = scalar = number.ToScalar();
                    }

                    count.add_(scalar);
                }
            }
        }

        foreach (var scalar in scalars.Values)
        {
            scalar.Dispose();
        }
    }

    private static bool IsSequence(nn.Module module) => module.GetType() == typeof(Sequential);

    // Visits a module and, in the order in which they run, its parts: only Sequential itself is known to run its parts so, and a block its
    // branches. Stops, and returns false, where something does not hold.
    private static bool All(nn.Module module, Func<nn.Module, bool> holds)
    {
        if (!holds(module))
        {
            return false;
        }

        for (var i = 0; IsSequence(module) && i < ((Sequential)module).Count; i++)
        {
            if (!All((nn.Module)((Sequential)module)[i], holds))
            {
                return false;
            }
        }

        return module switch
        {
            ResidualBlock block => All(block.Branch, holds) && (block.Shortcut is null || All(block.Shortcut, holds)),
            RectifiedBranch rectified => All(rectified.Branch, holds),
            _ => true,
        };
    }

    private static bool IsHooked(nn.Module module) => module is nn.Module<Tensor, Tensor> known && ModuleHooks.Any(known);

    private static string Obstacle(nn.Module function)
    {
        var (count, obstacle) = (0, string.Empty);
        All(function, module =>
        {
            count += IsSequence(module) ? 0 : 1;
            var refusal = IsHooked(module) ? "has forward hooks, which native layers would not call"
                : IsSequence(module) ? string.Empty
                : LayerTable.Of(module) is { } row ? row.Refusal(module)
                : $"is not one of {string.Join(", ", LayerTable.Rows.Select(known => known.Name))}";
            obstacle = refusal.Length > 0 ? $": {module.GetType().Name} {refusal}" : string.Empty;
            return refusal.Length == 0;
        });
        return obstacle.Length > 0 || count > 0 ? obstacle : " has no layers";
    }

    private void Add(nn.Module function, int index)
    {
        var specs = new LayerList();
        Add(function, index, specs, FunctionInput);
        Functions.Add(new FunctionSpec { Layers = specs });
    }

    // The number of the layer that gives the module's output; `input` where it has none.
    private long Add(nn.Module module, int index, LayerList specs, long input)
    {
        if (module is Sequential sequence)
        {
            for (var i = 0; i < sequence.Count; i++)
            {
                input = Add((nn.Module)sequence[i], index, specs, input);
            }

            return input;
        }

        var row = LayerTable.Of(module)!;
        var traits = row.Traits(module);
        layers.Add(new Layer(row, module, traits, index));
        if (module is BatchNorm2d norm)
        {
            norms.Add((norm, index));
        }

        if (module is ResidualBlock block)
        {
            var branch = Add(block.Branch, index, specs, input);
            var sum = traits.Spec(branch);
            sum.Other = block.Shortcut is null ? input : Add(block.Shortcut, index, specs, input);
            specs.Add(sum);
            traits = new LayerTraits { Kind = LayerKind.Relu };
            input = specs.Count - 1;
        }

        var last = traits.Spec(module is RectifiedBranch rectified ? Add(rectified.Branch, index, specs, input) : input);
        last.Other = input;
        specs.Add(last);
        return specs.Count - 1;
    }

    private readonly record struct Layer(LayerRow Row, nn.Module Module, LayerTraits Traits, int Function)
    {
        /// <summary>Whether a module of function i still is this layer.</summary>
        public bool Is(nn.Module module, int i) =>
            ReferenceEquals(Module, module) && Function == i && Row.Refusal(module).Length == 0 && Row.Traits(module) == Traits;
    }
}
