using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>One forward pass through a stage and its way back.</summary>
/// <param name="snapshot">What it is made with; the call's to dispose.</param>
/// <param name="results">Where its report goes.</param>
/// <param name="listener">Who is told of gradients that its way back adds to in place; null: nobody.</param>
internal sealed class StageCall(CallSnapshot snapshot, StageResults results, IGradientListener? listener)
{
    // Held by those who add to .grad in place: two passes may share a parameter.
    private static readonly object Accumulating = new();

    private Interop.StageContext? context;
    private long[] shape = [];
    private ScalarType type;
    private Device? device;
    private Tensor? token;
    private Tensor? output;
    private autograd.AutogradContext? node;
    private GradientNews? news;

    // Where the engine has threads of its own: an argument of the autograd function that nothing is computed from.
    private Tensor? signal;

    /// <summary>For tests: calls of this thread act as those on an accelerator do.</summary>
    [field: ThreadStatic]
    internal static bool ActsAsOnAccelerator { get; set; }

    /// <summary>What the call's graph is to hold: the call ends with it.</summary>
    public Tensor Token => token ??= GraphToken.New(Abandon);

    /// <summary>What the call went through, as messages name it.</summary>
    public string Owner => snapshot.Configuration.Owner;

    /// <summary>Autograd's engine runs the nodes of the CPU on the caller's thread, those of accelerators on threads of its own.</summary>
    public bool RunsOnCallersThread => signal is null;

    /// <param name="x">The state.</param>
    /// <param name="of">Autograd's node of this call.</param>
    public Tensor Forward(Tensor x, autograd.AutogradContext of)
    {
        node = of;
        (shape, type, device) = (x.shape, x.dtype, x.device);
        try
        {
            context = Run(() => snapshot.Forward(x));
            // Not the very tensor that the context holds: autograd ties what is returned to this call, and neither could ever be freed.
            using var held = context.Output();
            return output = held.detach();
        }
        finally
        {
            if (context is null)
            {
                snapshot.Dispose();
            }
        }
    }

    /// <summary>Runs the forward pass as a part of autograd's graph.</summary>
    public Tensor Record(Tensor x)
    {
        try
        {
            if (x.device_type != DeviceType.CPU || ActsAsOnAccelerator)
            {
                signal = zeros(2, requires_grad: true).DetachFromDisposeScope();
            }

            var result = StageFunction.apply([x, .. snapshot.Parameters, .. snapshot.Extras, .. Signal(signal), this]);
            OutputCopies.Free(node!);
            news = listener is not null && snapshot.AccumulatesInPlace ? new(listener, snapshot.Parameters) : null;
            return result;
        }
        finally
        {
            // The graph has its own, and so has what is returned: the caller's scope would keep the output until its end.
            token?.Dispose();
            output?.Dispose();
            signal?.Dispose();
        }
    }

    public Tensor Evaluate(Tensor x)
    {
        try
        {
            return Run(() => snapshot.Evaluate(x));
        }
        finally
        {
            snapshot.Dispose();
        }
    }

    /// <summary>The way back.</summary>
    /// <param name="gradOutput">The gradient of the output.</param>
    /// <param name="accumulates">Whether all leaves are to get their gradients, as in a plain <c>backward()</c>.</param>
    public List<Tensor> Backward(Tensor gradOutput, bool accumulates)
    {
        var done = Interlocked.Exchange(ref context, null)
            ?? throw new ResNetNodesException(
                $"a second backward pass through the same forward pass of {Owner}; run the forward pass again");
        var kept = false;
        try
        {
            results.ThrowIfDisposed();
            var gradients = snapshot.Callback is { } callback ? CallbackGradients(done, callback, gradOutput, accumulates)
                : accumulates && snapshot.AccumulatesInPlace ? InPlace(done, gradOutput)
                : Gradients(done, gradOutput);
            done.KeepReportAlone();
            results.Take(done);
            kept = true;
            return gradients;
        }
        finally
        {
            if (!kept)
            {
                done.Dispose();
            }

            End();
        }
    }

    /// <summary>Gives up the way back.</summary>
    public void Abandon()
    {
        Interlocked.Exchange(ref context, null)?.Dispose();
        End();
    }

    /// <summary>As many undefined gradients as the autograd function has arguments.</summary>
    public List<Tensor> NoGradients() => Returned(null, NoOthers());

    /// <summary>
    /// What a failed backward pass returns: with undefined gradients autograd.grad, whose native errors TorchSharp does not
    /// catch, would end the process, and so would a foreign function that is written without them in mind.
    /// </summary>
    public List<Tensor> ZeroGradients() =>
        Returned(
            snapshot.InputWanted ? Zeros(shape, type, device!) : null,
            snapshot.Parameters.Concat(snapshot.Extras)
                .Select(t => t.IsInvalid || !t.requires_grad ? null : Zeros(t.shape, t.dtype, t.device)));

    /// <summary>
    /// What autograd's engine refuses, whichever gradients are wanted and whatever their shapes: a signal of a shape to which the
    /// argument does not expand. Its error then reaches the caller's thread.
    /// </summary>
    public List<Tensor> RefusedGradients() => Returned(null, NoOthers(), zeros(3));

    private static Tensor Zeros(long[] shape, ScalarType type, Device device)
    {
        using var zero = zeros([], type, device);
        return zero.expand(shape);
    }

    private IEnumerable<Tensor?> NoOthers() => Enumerable.Repeat<Tensor?>(null, snapshot.Parameters.Count + snapshot.Extras.Count);

    private IEnumerable<Tensor?> Signal(Tensor? tensor) => RunsOnCallersThread ? [] : [tensor];

    private List<Tensor> Gradients(Interop.StageContext done, Tensor gradOutput)
    {
        Backward(done, gradOutput, []);
        return Returned(done.InputGradient(), done.ParameterGradients());
    }

    // Autograd would clone what it is given: a second copy of all gradients.
    private List<Tensor> InPlace(Interop.StageContext done, Tensor gradOutput)
    {
        lock (Accumulating)
        {
            // A parameter may have been replaced, or frozen, since: then nobody asks for its gradient.
            var takes = snapshot.Parameters.Select(p => !p.IsInvalid && p.requires_grad).ToList();
            var targets = snapshot.Parameters.Select((p, i) => takes[i] ? p.grad : null).ToArray();
            if (news is null)
            {
                Backward(done, gradOutput, targets!);
            }
            else
            {
                news.During(told => Backward(done, gradOutput, targets!, told));
            }

            Array.ForEach(targets, target => target?.Dispose());
            var gradients = done.ParameterGradients();
            for (var i = 0; i < gradients.Length; i++)
            {
                using var gradient = gradients[i];
                if (gradient is not null && takes[i])
                {
                    Add(snapshot.Parameters[i], gradient);
                }
            }
        }

        return Returned(done.InputGradient(), NoOthers());
    }

    // One that stands twice among the parameters has a gradient already the second time.
    private static void Add(Tensor parameter, Tensor gradient)
    {
        using var sum = parameter.grad;
        if (sum is null)
        {
            parameter.grad = gradient;
        }
        else
        {
            using var guard = no_grad();
            sum.add_(gradient);
        }
    }

    private List<Tensor> CallbackGradients(Interop.StageContext done, ModuleCallback callback, Tensor gradOutput, bool accumulates)
    {
        using var exclusive = callback.Exclusive();
        callback.Backward(accumulates, () => Backward(done, gradOutput, []));
        return Returned(
            done.InputGradient(),
            snapshot.Parameters.Select(callback.TakeGradient).Concat(snapshot.Extras.Select((_, i) => callback.TakeExtraGradient(i))));
    }

    private void Backward(Interop.StageContext done, Tensor gradOutput, Tensor[] targets, GradientListener? told = null) => Native(() =>
    {
        if (told is null)
        {
            snapshot.Stage.Backward(done, gradOutput, snapshot.NativeWanted, targets, snapshot.InputWanted);
        }
        else
        {
            snapshot.Stage.Backward(done, gradOutput, snapshot.NativeWanted, targets, snapshot.InputWanted, told);
        }

        return 0;
    });

    private void End()
    {
        news?.Dispose();
        snapshot.Dispose();
    }

    // One for each argument of the autograd function.
    private List<Tensor> Returned(Tensor? ofInput, IEnumerable<Tensor?> others, Tensor? ofSignal = null)
    {
        List<Tensor?> all = [ofInput, .. others, .. Signal(ofSignal), null];
        StageResults.KeepUntilNext(all);
        return all!;
    }

    // A forward pass.
    private T Run<T>(Func<T> native)
    {
        if (snapshot.Callback is not { } callback)
        {
            return native();
        }

        using var exclusive = callback.Exclusive();
        return callback.Forward(() => Native(native));
    }

    private T Native<T>(Func<T> native)
    {
        try
        {
            return native();
        }
        catch (ResNetNodesException)
        {
            snapshot.Callback?.ThrowFailure();
            throw;
        }
    }
}
