using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>One forward pass through a stage and its way back.</summary>
internal sealed class StageCall
{
    private readonly StageEngine engine;
    private readonly IReadOnlyList<Tensor> parameters;
    private readonly IReadOnlyList<Tensor> extras;
    private readonly bool training;
    private readonly ModuleCallback? callback;
    private readonly Interop.Stage stage;
    private Interop.StageContext? context;

    public StageCall(StageEngine engine, IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor> extras, bool training)
    {
        this.engine = engine;
        this.parameters = parameters;
        this.extras = extras;
        this.training = training;
        (stage, callback) = engine.Open(extras, training);
    }

    public Tensor Forward(Tensor x)
    {
        context = Run(() => stage.Forward(x, NativeParameters, engine.Buffers(), training));
        return context.Output();
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
        context = null;
        try
        {
            var wanted = NativeParameters.Select(p => p.requires_grad ? 1 : 0).ToArray();
            var targets = engine.Options.AccumulateGradientsInPlace
                ? NativeParameters.Select(p => p.requires_grad ? p.grad : null).ToArray()
                : [];
            Run(() =>
            {
                stage.Backward(done, gradOutput, wanted, targets!);
                return 0;
            });
            using var report = done.Report();
            engine.Finish(StageReport.FromNative(report));
            return Gradients(done);
        }
        finally
        {
            done.Dispose();
            Close();
        }
    }

    /// <summary>As many undefined gradients as the autograd function has arguments.</summary>
    public List<Tensor> NoGradients() => [.. Enumerable.Repeat<Tensor>(null!, parameters.Count + extras.Count + 2)];

    private IReadOnlyList<Tensor> NativeParameters => callback is null ? parameters : [];

    private List<Tensor> Gradients(Interop.StageContext done)
    {
        var all = new List<Tensor?> { done.InputGradient() };
        if (callback is null)
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
