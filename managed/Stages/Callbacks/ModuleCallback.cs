using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using ResNetNodes.Interop;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>Evaluates a function on a state, with the stage's extra inputs and the depth t = n/N.</summary>
internal delegate Tensor FunctionCall(nn.Module function, Tensor x, IReadOnlyList<Tensor> extras, double t);

/// <summary>
/// The residual functions of one forward pass and its way back, run by TorchSharp: autograd inside of one function, random numbers
/// replayed, buffers unchanged on the way back, gradients of parameters and extra inputs summed over the layers. Functions run as they
/// would without a stage: in the caller's gradient mode, and what they keep stays theirs.
/// </summary>
internal sealed class ModuleCallback : IDisposable
{
    private readonly long id;
    private readonly StageFunctions functions;
    private readonly IReadOnlyList<nn.Module> owners;
    private readonly IReadOnlyList<ExtraInput> extras;
    private readonly RandomNumbers? numbers;
    private readonly bool recorded;
    private readonly bool inputWanted;
    private readonly bool gradients;
    private readonly BufferHistory buffers = new();
    private readonly GradientSums sums = new();
    private readonly Dictionary<long, ModuleTape> tapes = [];
    private IReadOnlyList<List<nn.Module>> modules;
    private ModuleState? before;
    private ModuleState? after;
    private bool accumulates;
    private ExceptionDispatchInfo? failure;
    private Tensor? result;

    /// <param name="functions">The functions.</param>
    /// <param name="extras">The extra inputs.</param>
    /// <param name="training">Whether the stage is in training mode.</param>
    /// <param name="recorded">Whether a way back may follow.</param>
    /// <param name="inputWanted">Whether that is to give the gradient of the input.</param>
    public ModuleCallback(StageFunctions functions, IReadOnlyList<Tensor> extras, bool training, bool recorded, bool inputWanted)
    {
        (this.functions, this.recorded, this.inputWanted) = (functions, recorded, inputWanted);
        this.extras = [.. extras.Select(extra => new ExtraInput(extra, recorded))];
        modules = Trees();
        owners = OwnedTensors.Owners(modules.SelectMany(list => list));
        gradients = is_grad_enabled();
        // Not the training mode alone: a function may be random without it, and its numbers must be the same on the way back.
        numbers = training || recorded ? RandomNumbers.Drawn() : null;
        id = CallbackEntries.Add(this);
    }

    ~ModuleCallback() => CallbackEntries.Remove(id);

    /// <summary>What the native stage calls.</summary>
    public CallbackTable Table => CallbackEntries.Table(id);

    /// <summary>Waits until no other thread runs a pass through one of the modules, and holds them until disposed.</summary>
    public IDisposable Exclusive() => ModuleLocks.Enter(modules.SelectMany(list => list));

    /// <summary>Runs the forward pass; where a way back may follow, notes what that is to find again.</summary>
    public T Forward<T>(Func<T> pass)
    {
        before = recorded ? StateOf(modules) : null;
        var outcome = ModuleSettings.Watch(owners, pass);
        // Functions may make parts of theirs when they first run.
        modules = Trees();
        after = recorded ? StateOf(modules) : null;
        return outcome;
    }

    /// <summary>Runs the way back, in the modes of the forward pass.</summary>
    /// <param name="accumulates">
    /// Whether all leaves are to get their gradients, those that functions close over too: parameters then have theirs when this returns.
    /// </param>
    /// <param name="pass">The way back.</param>
    /// <exception cref="ResNetNodesException">Something that functions read has changed since the forward pass.</exception>
    public void Backward(bool accumulates, Action pass)
    {
        var now = StateOf(Trees());
        now.RequireSame(before!, after!);
        foreach (var extra in extras)
        {
            extra.RequireSame();
        }

        this.accumulates = accumulates;
        using var modes = now.InModesOf(after!);
        try
        {
            pass();
        }
        finally
        {
            buffers.Restore();
        }
    }

    /// <summary>Throws a callback's exception as itself, with its stack.</summary>
    public void ThrowFailure()
    {
        var kept = failure;
        failure = null;
        kept?.Throw();
    }

    /// <summary>Keeps a callback's exception until native code has returned.</summary>
    public void Fail(Exception exception) => failure = ExceptionDispatchInfo.Capture(exception);

    /// <summary>The summed gradient of a parameter, handed over; null where no function used it, and where it has it already.</summary>
    public Tensor? TakeGradient(Tensor parameter) => sums.Take(parameter);

    /// <summary>The summed gradient of extra input i, handed over.</summary>
    public Tensor? TakeExtraGradient(int i) => sums.Take(extras[i].Tensor);

    /// <summary>
    /// Runs a callback in a dispose scope of its own, and keeps its result until the next one. What the modules keep of the tensors that
    /// the callback made goes to the caller's scope, where it would be without a stage.
    /// </summary>
    public Tensor? Result(Func<Tensor?> callback)
    {
        using var scope = NewDisposeScope();
        var value = callback()?.DetachFromDisposeScope();
        scope.MoveToOuter(OwnedTensors.Among(scope.DisposablesView.OfType<Tensor>(), owners));
        result?.Dispose();
        return result = value;
    }

    /// <summary>f_n(x), for the forward pass or again.</summary>
    public Tensor Evaluate(int function, long use, Evaluation evaluation, long slot, Tensor x)
    {
        var replay = evaluation is Evaluation.Replay or Evaluation.Tape;
        // The same on the way back; the caller's stream goes on after it.
        using var random = numbers?.Part(use).TorchScope(x.device);
        if (replay)
        {
            buffers.Replay(modules[functions.IndexOf(function)], use);
            return Evaluate(function, evaluation, slot, x);
        }

        return recorded
            ? buffers.Forward(modules[functions.IndexOf(function)], use, () => Evaluate(function, evaluation, slot, x))
            : Evaluate(function, evaluation, slot, x);
    }

    /// <summary>
    /// The gradient of x from that of f_n(x), null where a function alone has none; those of parameters and extra inputs are added up.
    /// </summary>
    public Tensor? Vjp(int function, long slot, Tensor cotangent)
    {
        if (!tapes.Remove(slot, out var tape))
        {
            throw new InvalidOperationException($"no tape of {functions.NameOf(function)} is kept");
        }

        using (tape)
        {
            if (!tape.Output.requires_grad)
            {
                return NoGradient(tape);
            }

            var leaves = extras.Zip(tape.Extras, (extra, leaf) => (extra.Tensor, leaf)).Where(pair => pair.leaf.requires_grad).ToList();
            var gradient = Explained(
                function, () => accumulates ? Accumulate(tape, cotangent, leaves) : Capture(function, tape, cotangent, leaves));
            return gradient is { IsInvalid: false } ? gradient : NoGradient(tape);
        }
    }

    /// <summary>A tape that is not needed any more.</summary>
    public void Drop(long slot)
    {
        if (tapes.Remove(slot, out var tape))
        {
            tape.Dispose();
        }
    }

    public void Dispose()
    {
        CallbackEntries.Remove(id);
        buffers.Dispose();
        foreach (var tape in tapes.Values)
        {
            tape.Dispose();
        }

        tapes.Clear();
        sums.Dispose();
        foreach (var extra in extras)
        {
            extra.Dispose();
        }

        result?.Dispose();
        GC.SuppressFinalize(this);
    }

    private string LikeInput => functions.IsResidual ? " like its input" : string.Empty;

    private ModuleState StateOf(IReadOnlyList<List<nn.Module>> trees) => new(trees, functions.NameOf);

    private IReadOnlyList<List<nn.Module>> Trees() => [.. functions.Modules.Select(ModuleTree.Of)];

    private Tensor Evaluate(int function, Evaluation evaluation, long slot, Tensor x)
    {
        // With a way back to follow, functions run as autograd would have them run, in the forward pass and in replays too: what they
        // differentiate inside needs it.
        using var mode = set_grad_enabled(gradients);
        var input = recorded ? x.detach().requires_grad_(inputWanted) : x;
        var others = extras.Select(extra => extra.ForCall()).ToList();
        var output = functions.Writes.Guarded(functions.IndexOf(function), input, given => functions.Call(function, given, others))
            ?? throw new ResNetNodesException($"{functions.NameOf(function)} returned null, expected a tensor{LikeInput}");
        if (output.IsInvalid)
        {
            throw new ResNetNodesException($"{functions.NameOf(function)} returned a disposed tensor, expected one{LikeInput}");
        }

        if (!recorded && output.requires_grad)
        {
            throw new ResNetNodesException(
                $"{functions.NameOf(function)} reads a tensor that needs a gradient and is neither its parameter nor an input of "
                + $"{functions.Whole}; register it as a parameter, or call {functions.Whole} under no_grad");
        }

        if (evaluation is Evaluation.Tape or Evaluation.ForwardTape)
        {
            Drop(slot);
            tapes[slot] = new ModuleTape(input, output, others);
        }

        // A tensor of its own, which holds no graph: the output itself may be the user's.
        using var guard = no_grad();
        return output.detach();
    }

    // As a plain backward() does: autograd adds to the gradients of all leaves, the parameters and what functions close over. The inputs
    // are leaves of this tape alone.
    private Tensor? Accumulate(ModuleTape tape, Tensor cotangent, List<(Tensor Extra, Tensor Leaf)> leaves)
    {
        BackwardFailure.Unwrap(() => autograd.backward([tape.Output], [cotangent], retain_graph: false, create_graph: false));
        leaves.ForEach(pair => sums.Add(pair.Extra, pair.Leaf.grad));
        return tape.Input.grad;
    }

    // For the caller, who wants some gradients and no others changed.
    private Tensor? Capture(int function, ModuleTape tape, Tensor cotangent, List<(Tensor Extra, Tensor Leaf)> leaves)
    {
        var targets = functions.Modules[functions.IndexOf(function)].parameters().Where(p => p.requires_grad).DistinctBy(TensorIdentity.Of)
            .Select(p => ((Tensor)p, (Tensor)p)).Concat(leaves).ToList();
        Tensor[] input = inputWanted ? [tape.Input] : [];
        if (input.Length + targets.Count == 0)
        {
            return null; // asked for nothing, autograd would add to the gradients of all leaves
        }

        var found = BackwardFailure.Captured(tape.Output, cotangent, [.. input, .. targets.Select(pair => pair.Item2)]);
        for (var i = 0; i < targets.Count; i++)
        {
            sums.Add(targets[i].Item1, found[i + input.Length]);
        }

        return inputWanted ? found[0] : null;
    }

    // A state's gradient goes on through the step around the function; nothing is around a function alone.
    private Tensor? NoGradient(ModuleTape tape) => functions.IsResidual ? zeros_like(tape.Input) : null;

    private Tensor? Explained(int function, Func<Tensor?> product)
    {
        try
        {
            return product();
        }
        catch (Exception error) when (
            error is ExternalException or ResNetNodesException
            && error.Message.Contains("the graph a second time", StringComparison.Ordinal))
        {
            throw new ResNetNodesException(
                $"{functions.NameOf(function)} reads a tensor that was computed outside of it and needs a gradient; "
                + (functions.IsResidual ? "give it to a ConditionedStage as its condition" : "compute it inside") + ", or detach it",
                error);
        }
    }
}
