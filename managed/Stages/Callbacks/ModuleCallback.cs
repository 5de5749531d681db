using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using ResNetNodes.Interop;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>Evaluates function n on a state, with the stage's extra inputs and the depth t = n/N.</summary>
internal delegate Tensor FunctionCall(int function, Tensor x, IReadOnlyList<Tensor> extras);

/// <summary>
/// The residual functions of one forward pass and its way back, run by TorchSharp: autograd inside of one function, random
/// numbers replayed, buffers unchanged on the way back, gradients of parameters and extra inputs summed over the layers.
/// </summary>
internal sealed unsafe class ModuleCallback : IDisposable
{
    // Native code holds a number, not an address: a tape that outlives this object then finds nothing, and does nothing.
    private static readonly ConcurrentDictionary<long, WeakReference<ModuleCallback>> Living = new();
    private static long lastId;

    private readonly long id = Interlocked.Increment(ref lastId);
    private readonly IReadOnlyList<nn.Module> modules;
    private readonly FunctionCall call;
    private readonly IReadOnlyList<Tensor> extras;
    private readonly RandomNumbers? numbers;
    private readonly Dictionary<long, Tape> tapes = [];
    private readonly Dictionary<IntPtr, Tensor> gradients = [];
    private readonly Tensor?[] extraGradients;
    private readonly Dictionary<IntPtr, (Tensor Buffer, Tensor Before)> keptBuffers = [];
    private ExceptionDispatchInfo? failure;
    private Tensor? result;

    /// <param name="modules">The functions, N or one that all share.</param>
    /// <param name="call">How a function is called.</param>
    /// <param name="extras">The extra inputs.</param>
    /// <param name="seeded">
    /// Whether random numbers come from a seed of this call. Not the training mode: a function may be random without it, and its
    /// numbers must be the same on the way back.
    /// </param>
    public ModuleCallback(IReadOnlyList<nn.Module> modules, FunctionCall call, IReadOnlyList<Tensor> extras, bool seeded)
    {
        this.modules = modules;
        this.call = call;
        this.extras = extras;
        numbers = seeded ? RandomNumbers.Drawn() : null;
        extraGradients = new Tensor?[extras.Count];
        Living[id] = new WeakReference<ModuleCallback>(this);
    }

    ~ModuleCallback() => Living.TryRemove(id, out _);

    /// <summary>What the native stage calls.</summary>
    public CallbackTable Table => new()
    {
        Evaluate = (IntPtr)(delegate* unmanaged[Cdecl]<IntPtr, long, long, int, long, IntPtr, IntPtr*, int>)&EvaluateEntry,
        Vjp = (IntPtr)(delegate* unmanaged[Cdecl]<IntPtr, long, long, IntPtr, IntPtr*, int>)&VjpEntry,
        Drop = (IntPtr)(delegate* unmanaged[Cdecl]<IntPtr, long, void>)&DropEntry,
        User = (IntPtr)id,
    };

    /// <summary>Throws a callback's exception as itself, with its stack.</summary>
    public void ThrowFailure()
    {
        var kept = failure;
        failure = null;
        kept?.Throw();
    }

    /// <summary>The summed gradient of a parameter, handed over; null where no function used it.</summary>
    public Tensor? TakeGradient(Tensor parameter) => gradients.Remove(parameter.Handle, out var gradient) ? gradient : null;

    /// <summary>The summed gradient of extra input i, handed over.</summary>
    public Tensor? TakeExtraGradient(int i)
    {
        var gradient = extraGradients[i];
        extraGradients[i] = null;
        return gradient;
    }

    /// <summary>
    /// Puts buffers, running statistics among them, back as they were before the way back. At its end: autograd would take a
    /// change between a tape and its product for one that spoils the gradient.
    /// </summary>
    public void RestoreBuffers()
    {
        using var guard = no_grad();
        foreach (var (buffer, before) in keptBuffers.Values)
        {
            buffer.copy_(before);
            before.Dispose();
        }

        keptBuffers.Clear();
    }

    public void Dispose()
    {
        Living.TryRemove(id, out _);
        RestoreBuffers();
        foreach (var tape in tapes.Values)
        {
            tape.Dispose();
        }

        tapes.Clear();
        foreach (var gradient in gradients.Values)
        {
            gradient.Dispose();
        }

        gradients.Clear();
        foreach (var gradient in extraGradients)
        {
            gradient?.Dispose();
        }

        result?.Dispose();
        GC.SuppressFinalize(this);
    }

    private nn.Module ModuleOf(int function) => modules[Math.Min(function, modules.Count - 1)];

    // Modules in evaluation mode leave theirs alone; a part may be in another mode than the stage.
    private void KeepBuffers(nn.Module module)
    {
        foreach (var part in module.modules().Prepend(module).Where(part => part.training))
        {
            foreach (var buffer in part.buffers(recurse: false))
            {
                if (!keptBuffers.ContainsKey(buffer.Handle))
                {
                    keptBuffers[buffer.Handle] = (buffer, buffer.clone().DetachFromDisposeScope());
                }
            }
        }
    }

    private static ModuleCallback? Find(IntPtr user) =>
        Living.TryGetValue(user, out var weak) && weak.TryGetTarget(out var callback) ? callback : null;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int EvaluateEntry(IntPtr user, long function, long use, int evaluation, long slot, IntPtr x, IntPtr* result) =>
        Guard(user, x, result, (callback, state) => callback.Evaluate((int)function, use, (Evaluation)evaluation, slot, state));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int VjpEntry(IntPtr user, long function, long slot, IntPtr cotangent, IntPtr* result) =>
        Guard(user, cotangent, result, (callback, grad) => callback.Vjp((int)function, slot, grad));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void DropEntry(IntPtr user, long slot)
    {
        if (Find(user) is { } callback && callback.tapes.Remove(slot, out var tape))
        {
            tape.Dispose();
        }
    }

    // No exception may leave: C++ frames lie between here and the caller. The argument is owned, the result is kept here.
    private static int Guard(IntPtr user, IntPtr argument, IntPtr* result, Func<ModuleCallback, Tensor, Tensor> action)
    {
        var callback = Find(user);
        try
        {
            using var scope = NewDisposeScope();
            var tensor = Tensor.UnsafeCreateTensor(argument);
            if (callback is null)
            {
                return 1;
            }

            var value = action(callback, tensor).DetachFromDisposeScope();
            callback.result?.Dispose();
            callback.result = value;
            *result = value.Handle;
            return 0;
        }
        catch (Exception exception)
        {
            if (callback is not null)
            {
                callback.failure = ExceptionDispatchInfo.Capture(exception);
            }

            return 1;
        }
    }

    private Tensor Evaluate(int function, long use, Evaluation evaluation, long slot, Tensor x)
    {
        var replay = evaluation is Evaluation.Replay or Evaluation.Tape;
        // The same on the way back; the caller's stream goes on after it.
        using var random = numbers?.Part(use).TorchScope(x.device);
        if (replay)
        {
            KeepBuffers(ModuleOf(function));
        }

        if (evaluation is Evaluation.Forward or Evaluation.Replay)
        {
            using var guard = no_grad();
            return Alone(call(function, x, extras), x);
        }

        using var recording = enable_grad();
        var input = x.detach().requires_grad_(true);
        var others = extras.Select(e => e.detach().requires_grad_(e.requires_grad)).ToList();
        var output = call(function, input, others);
        if (tapes.Remove(slot, out var old))
        {
            old.Dispose();
        }

        tapes[slot] = new Tape(input, output, others);
        return output.alias();
    }

    // A module may return its own input, whose wrapper is the scope's to dispose.
    private static Tensor Alone(Tensor output, Tensor input) => ReferenceEquals(output, input) ? output.alias() : output;

    private Tensor Vjp(int function, long slot, Tensor cotangent)
    {
        if (!tapes.Remove(slot, out var tape))
        {
            throw new InvalidOperationException($"no tape of function {function} is kept");
        }

        using (tape)
        {
            if (!tape.Output.requires_grad)
            {
                return zeros_like(cotangent);
            }

            var parameters = ModuleOf(function).parameters().Where(p => p.requires_grad).ToList();
            var wanted = new List<Tensor> { tape.Input };
            wanted.AddRange(parameters);
            wanted.AddRange(tape.Extras.Where(e => e.requires_grad));
            var found = Gradients(tape.Output, wanted, cotangent);
            for (var i = 0; i < parameters.Count; i++)
            {
                gradients[parameters[i].Handle] = Added(gradients.GetValueOrDefault(parameters[i].Handle), found[i + 1])!;
            }

            var next = 1 + parameters.Count;
            for (var i = 0; i < tape.Extras.Count; i++)
            {
                if (tape.Extras[i].requires_grad)
                {
                    extraGradients[i] = Added(extraGradients[i], found[next++]);
                }
            }

            foreach (var empty in gradients.Where(pair => pair.Value is null).Select(pair => pair.Key).ToList())
            {
                gradients.Remove(empty);
            }

            return found[0] is { IsInvalid: false } gradient ? gradient : zeros_like(cotangent);
        }
    }

    // By backward and .grad: TorchSharp catches no native error in autograd.grad (a value changed in place, say), and the
    // process would end.
    private static Tensor?[] Gradients(Tensor output, List<Tensor> wanted, Tensor cotangent)
    {
        var before = wanted.Select(tensor => tensor.grad).ToList();
        try
        {
            wanted.ForEach(tensor => tensor.grad = null);
            BackwardFailure.Unwrap(() => autograd.backward([output], [cotangent], retain_graph: false, create_graph: false, inputs: wanted));
            return [.. wanted.Select(tensor => tensor.grad)];
        }
        finally
        {
            for (var i = 0; i < wanted.Count; i++)
            {
                wanted[i].grad = before[i];
            }
        }
    }

    private static Tensor? Added(Tensor? sum, Tensor? gradient)
    {
        if (gradient is null || gradient.IsInvalid)
        {
            return sum;
        }

        if (sum is null)
        {
            return gradient.detach().DetachFromDisposeScope();
        }

        using var guard = no_grad();
        return sum.add_(gradient);
    }

    private sealed class Tape : IDisposable
    {
        public Tape(Tensor input, Tensor output, List<Tensor> extras)
        {
            Input = input.DetachFromDisposeScope();
            Output = output.DetachFromDisposeScope();
            Extras = extras;
            extras.ForEach(extra => extra.DetachFromDisposeScope());
        }

        public Tensor Input { get; }

        public Tensor Output { get; }

        public List<Tensor> Extras { get; }

        public void Dispose()
        {
            Input.Dispose();
            Output.Dispose();
            Extras.ForEach(extra => extra.Dispose());
        }
    }
}
