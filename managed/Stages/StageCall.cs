using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>One forward pass through a stage and its way back.</summary>
internal sealed class StageCall
{
    private readonly StageEngine engine;
    private readonly IReadOnlyList<Tensor> parameters;
    private readonly IReadOnlyList<Tensor> inputs;
    private readonly IReadOnlyList<Tensor> extras;
    private readonly bool training;
    private readonly ModuleCallback? callback;
    private readonly Interop.Stage stage;
    private Interop.StageContext? context;
    private long[] shape = [];
    private ScalarType type;
    private Device? device;

    /// <param name="engine">The stage.</param>
    /// <param name="parameters">Its parameters as they are now.</param>
    /// <param name="inputs">What autograd knows of them: themselves, or what stands for them where their gradients go past it.</param>
    /// <param name="extras">The extra inputs.</param>
    /// <param name="training">Whether the stage is in training mode.</param>
    /// <param name="recorded">Whether a backward pass may follow.</param>
    public StageCall(StageEngine engine, IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> inputs, IReadOnlyList<Tensor> extras, bool training, bool recorded)
    {
        this.engine = engine;
        this.parameters = parameters;
        this.inputs = inputs;
        this.extras = extras;
        this.training = training;
        (stage, callback) = engine.Open(extras, training || recorded);
    }

    /// <summary>Autograd's engine runs the nodes of the CPU on the caller's thread, those of accelerators on threads of its own.</summary>
    public bool RunsOnCallersThread => device is null || device.type == DeviceType.CPU;

    public Tensor Forward(Tensor x)
    {
        (shape, type, device) = (x.shape, x.dtype, x.device);
        try
        {
            context = Run(() => stage.Forward(x, NativeParameters, engine.Buffers(), training));
            return context.Output();
        }
        finally
        {
            if (context is null)
            {
                Close();
            }
        }
    }

    public Tensor Evaluate(Tensor x)
    {
        try
        {
            return Run(() => stage.Evaluate(x, NativeParameters, engine.Buffers(), training));
        }
        finally
        {
            Close();
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
            ObjectDisposedException.ThrowIf(engine.IsDisposed, typeof(ResidualStage));
            var wanted = NativeParameters.Select(p => p.requires_grad ? 1 : 0).ToArray();
            var targets = PassesAutograd ? NativeParameters.Select(p => p.requires_grad ? p.grad : null).ToArray() : [];
            Run(() =>
            {
                stage.Backward(done, gradOutput, wanted, targets!);
                return 0;
            });
            foreach (var target in targets)
            {
                target?.Dispose();
            }

            var gradients = Gradients(done);
            done.KeepReportAlone();
            engine.Finish(done);
            kept = true;
            return gradients;
        }
        finally
        {
            if (!kept)
            {
                done.Dispose();
            }

            Close();
        }
    }

    /// <summary>Gives up the way back.</summary>
    public void Abandon()
    {
        context?.Dispose();
        context = null;
        Close();
    }

    /// <summary>As many undefined gradients as the autograd function has arguments.</summary>
    public List<Tensor> NoGradients() => [.. Enumerable.Repeat<Tensor>(null!, inputs.Count + extras.Count + 2)];

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
        all.AddRange(inputs.Concat(extras).Select(t => t.IsInvalid || !t.requires_grad ? null : make(t.shape, t.dtype, t.device)));
        all.Add(null);
        engine.DisposeLater(all);
        return all!;
    }

    private IReadOnlyList<Tensor> NativeParameters => callback is null ? parameters : [];

    /// <summary>Whether gradients of the parameters go straight to their <c>.grad</c>.</summary>
    private bool PassesAutograd => !ReferenceEquals(inputs, parameters);

    private List<Tensor> Gradients(Interop.StageContext done)
    {
        var all = new List<Tensor?> { done.InputGradient() };
        if (PassesAutograd)
        {
            // Autograd would clone what it is given here: a second copy of all gradients.
            foreach (var (parameter, gradient) in parameters.Zip(done.ParameterGradients()).Where(p => p.Second is not null))
            {
                parameter.grad = gradient;
                gradient.Dispose();
            }

            all.AddRange(inputs.Select(_ => (Tensor?)null));
        }
        else if (callback is null)
        {
            all.AddRange(done.ParameterGradients());
        }
        else
        {
            all.AddRange(parameters.Select(callback.TakeGradient));
        }

        for (var i = 0; i < extras.Count; i++)
        {
            all.Add(callback?.TakeExtraGradient(i));
        }

        all.Add(null); // of this object
        engine.DisposeLater(all);
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
            callback?.ThrowFailure();
            throw;
        }
    }

    // The stage of a callback is this call's own.
    private void Close()
    {
        if (callback is not null)
        {
            stage.Dispose();
            callback.Dispose();
        }
    }
}
