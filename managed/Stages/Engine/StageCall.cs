using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>One forward pass through a stage and its way back.</summary>
/// <param name="snapshot">What it is made with; the call's to dispose.</param>
/// <param name="results">Where its report and the gradients that it returns go.</param>
internal sealed class StageCall(CallSnapshot snapshot, StageResults results)
{
    private Interop.StageContext? context;
    private long[] shape = [];
    private ScalarType type;
    private Device? device;

    /// <summary>Autograd's engine runs the nodes of the CPU on the caller's thread, those of accelerators on threads of its own.</summary>
    public bool RunsOnCallersThread => device is null || device.type == DeviceType.CPU;

    // One flag for each batch normalization.
    private int[] Modes => [.. Enumerable.Repeat(snapshot.Training ? 1 : 0, (int)snapshot.Stage.NormCount())];

    public Tensor Forward(Tensor x)
    {
        (shape, type, device) = (x.shape, x.dtype, x.device);
        try
        {
            context = Run(() => snapshot.Stage.Forward(x, snapshot.NativeParameters, snapshot.Buffers, Modes));
            return context.Output();
        }
        finally
        {
            if (context is null)
            {
                snapshot.Dispose();
            }
        }
    }

    public Tensor Evaluate(Tensor x)
    {
        try
        {
            return Run(() => snapshot.Stage.Evaluate(x, snapshot.NativeParameters, snapshot.Buffers, Modes));
        }
        finally
        {
            snapshot.Dispose();
        }
    }

    public List<Tensor> Backward(Tensor gradOutput)
    {
        if (context is null)
        {
            throw new ResNetNodesException(
                "a second backward pass through the same forward pass of a residual stage; run the forward pass again");
        }

        var done = context;
        var kept = false;
        context = null;
        try
        {
            results.ThrowIfDisposed();
            var wanted = snapshot.NativeParameters.Select(p => p.requires_grad ? 1 : 0).ToArray();
            var targets = snapshot.BypassesAutograd ? snapshot.NativeParameters.Select(p => p.requires_grad ? p.grad : null).ToArray() : [];
            Run(() =>
            {
                snapshot.Stage.Backward(done, gradOutput, wanted, targets!);
                return 0;
            });
            foreach (var target in targets)
            {
                target?.Dispose();
            }

            var gradients = Gradients(done);
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

            snapshot.Dispose();
        }
    }

    /// <summary>Gives up the way back.</summary>
    public void Abandon()
    {
        context?.Dispose();
        context = null;
        snapshot.Dispose();
    }

    /// <summary>As many undefined gradients as the autograd function has arguments.</summary>
    public List<Tensor> NoGradients() => [.. Enumerable.Repeat<Tensor>(null!, snapshot.Inputs.Count + snapshot.Extras.Count + 2)];

    /// <summary>
    /// What a failed backward pass returns: with undefined gradients autograd.grad, whose native errors TorchSharp does not
    /// catch, would end the process, and so would a foreign function that is written without them in mind.
    /// </summary>
    public List<Tensor> ZeroGradients() => Substitutes((of, type, device) =>
    {
        using var zero = zeros([], type, device);
        return zero.expand(of);
    });

    /// <summary>Gradients of no dimension, which autograd's engine refuses: its error then reaches the caller's thread.</summary>
    public List<Tensor> MisshapenGradients() => Substitutes((_, type, device) => zeros([], type, device));

    private List<Tensor> Substitutes(Func<long[], ScalarType, Device, Tensor> make)
    {
        var all = new List<Tensor?> { make(shape, type, device!) };
        all.AddRange(snapshot.Inputs.Concat(snapshot.Extras).Select(t => t.IsInvalid || !t.requires_grad ? null : make(t.shape, t.dtype, t.device)));
        all.Add(null);
        results.Take(all);
        return all!;
    }

    private List<Tensor> Gradients(Interop.StageContext done)
    {
        var all = new List<Tensor?> { done.InputGradient() };
        if (snapshot.BypassesAutograd)
        {
            // Autograd would clone what it is given here: a second copy of all gradients.
            foreach (var (parameter, gradient) in snapshot.Parameters.Zip(done.ParameterGradients()).Where(p => p.Second is not null))
            {
                parameter.grad = gradient;
                gradient.Dispose();
            }

            all.AddRange(snapshot.Inputs.Select(_ => (Tensor?)null));
        }
        else if (snapshot.Callback is null)
        {
            all.AddRange(done.ParameterGradients());
        }
        else
        {
            all.AddRange(snapshot.Parameters.Select(snapshot.Callback.TakeGradient));
        }

        for (var i = 0; i < snapshot.Extras.Count; i++)
        {
            all.Add(snapshot.Callback?.TakeExtraGradient(i));
        }

        all.Add(null); // of this object
        results.Take(all);
        return all!;
    }

    private T Run<T>(Func<T> native)
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
