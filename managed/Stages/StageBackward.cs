using System.Runtime.InteropServices;
using ResNetNodes.Stages.Callbacks;
using TorchSharp;

namespace ResNetNodes;

/// <summary>Backward passes through residual stages and recomputed modules.</summary>
public static class StageBackward
{
    /// <summary>
    /// <c>loss.backward()</c>, except that an exception thrown inside a residual stage or a <see cref="Recomputed"/> reaches the
    /// caller as it is, with its stack. (Plain <c>backward()</c> throws an <see cref="ExternalException"/>. Its message begins with
    /// the original one; where tensors are on a GPU, it speaks of an invalid gradient alone.)
    /// </summary>
    /// <param name="loss">A tensor of one element.</param>
    public static void BackwardThroughStages(this torch.Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        BackwardFailure.Unwrap(() => loss.backward());
    }
}
