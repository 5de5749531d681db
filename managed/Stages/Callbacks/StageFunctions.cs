using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>The residual functions of a stage, as its constructor was given them; or a function alone, which adds to no state.</summary>
internal sealed class StageFunctions
{
    private readonly FunctionCall call;

    /// <param name="modules">The functions, N or one that all steps share.</param>
    /// <param name="depth">N.</param>
    /// <param name="call">How a function is called.</param>
    /// <param name="unmappable">Why they can't be native layers whatever they are made of; empty where they take a state alone.</param>
    public StageFunctions(IReadOnlyList<nn.Module> modules, int depth, FunctionCall call, string unmappable)
    {
        if (modules.Count == 0)
        {
            throw new ArgumentException("a stage needs at least one residual function", nameof(modules));
        }

        for (var i = 0; i < modules.Count; i++)
        {
            if (modules[i] is null)
            {
                throw new ArgumentException($"function {i} is null", nameof(modules));
            }
        }

        this.call = call;
        (Modules, Depth, Unmappable, Writes) = (modules, depth, unmappable, new InputWrites(modules.Count, NameOf));
    }

    /// <summary>A module that is no residual function: its output is the result, of whatever shape and type.</summary>
    public static StageFunctions Alone(nn.Module<Tensor, Tensor> module) =>
        new([module], 1, (function, x, _, _) => ((nn.Module<Tensor, Tensor>)function).call(x), string.Empty) { IsResidual = false };

    public IReadOnlyList<nn.Module> Modules { get; }

    /// <summary>Whether steps add what the functions give to a state, which is of the same kind then.</summary>
    public bool IsResidual { get; private init; } = true;

    /// <summary>What the functions belong to, as messages name it.</summary>
    public string Owner => IsResidual ? "a residual stage" : "a Recomputed";

    /// <summary>All of it, as messages name it.</summary>
    public string Whole => IsResidual ? "the stage" : NameOf(0);

    public int Depth { get; }

    public string Unmappable { get; }

    /// <summary>What is known of functions that write to their input.</summary>
    public InputWrites Writes { get; }

    /// <summary>Which of the modules function n of the stage is.</summary>
    public int IndexOf(int function) => Math.Min(function, Modules.Count - 1);

    /// <summary>Function n, as messages name it.</summary>
    public string NameOf(int function) => IsResidual ? $"function {function}" : "the recomputed module";

    /// <summary>Evaluates function n of the stage.</summary>
    public Tensor Call(int function, Tensor x, IReadOnlyList<Tensor> extras) =>
        call(Modules[IndexOf(function)], x, extras, (double)function / Depth);

    /// <summary>A caller's list of functions.</summary>
    public static nn.Module[] All(IEnumerable<nn.Module> functions)
    {
        ArgumentNullException.ThrowIfNull(functions);
        return [.. functions];
    }

    /// <summary>The one function that all steps share.</summary>
    public static nn.Module[] Shared(nn.Module function, int depth)
    {
        ArgumentNullException.ThrowIfNull(function);
        ArgumentOutOfRangeException.ThrowIfLessThan(depth, 1);
        return [function];
    }
}
