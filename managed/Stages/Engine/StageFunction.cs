using ResNetNodes.Interop;
using ResNetNodes.Stages.Callbacks;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>
/// The autograd function around a native stage. Its arguments: x, the parameters, the extra inputs, for an accelerator a tensor by which
/// a failure is told, and last the <see cref="StageCall"/> that does the work.
/// </summary>
internal sealed class StageFunction : autograd.SingleTensorFunction<StageFunction>
{
    private const string CallKey = "call";

    public override string Name => nameof(StageFunction);

    public override Tensor forward(autograd.AutogradContext ctx, params object[] vars)
    {
        var call = (StageCall)vars[^1];
        var output = call.Forward((Tensor)vars[0], ctx);
        ctx.save_for_backward([call.Token]);
        ctx.save_data(CallKey, call);
        ctx.set_materialize_grads(false);
        return output;
    }

    public override List<Tensor> backward(autograd.AutogradContext ctx, Tensor grad_output)
    {
        // A wrapper of ours alone: the caller's scope, if the thread has one, would keep the gradient of each stage until its end, and
        // without one the garbage collector has it.
        using var gradient = grad_output;
        var call = (StageCall)ctx.get_data(CallKey);
        var failed = BackwardFailure.HasFailed();
        try
        {
            if (!failed)
            {
                return Backward(call, grad_output);
            }

            // A later stage failed: this one's result would be thrown away.
            call.Abandon();
        }
        catch (Exception exception)
        {
            // C++ frames of autograd's engine lie between here and the caller: an exception that left would end the process.
            BackwardFailure.Keep(exception, call.RunsOnCallersThread);
        }

        if (!call.RunsOnCallersThread)
        {
            return call.RefusedGradients();
        }

        var zeros = call.ZeroGradients();
        BackwardFailure.Signal(call.Owner);
        return zeros;
    }

    private static List<Tensor> Backward(StageCall call, Tensor gradOutput)
    {
        if (is_grad_enabled())
        {
            throw new ResNetNodesException(
                $"create_graph: the gradient of {call.Owner} can't be differentiated again; use a plain module for second derivatives");
        }

        // An undefined gradient: nothing downstream depends on this stage.
        return gradOutput is null || gradOutput.IsInvalid ? call.NoGradients() : call.Backward(gradOutput, Functions.BackwardAccumulates());
    }
}
