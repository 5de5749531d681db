using ResNetNodes.Interop;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>
/// Which functions write to their input, as one does whose first layer is an in-place ReLU. The input is the stage's state, or its caller's
/// tensor: such functions get a copy. Each function's first evaluation tells. Calls may come from any thread.
/// </summary>
/// <param name="functions">How many functions there are.</param>
internal sealed class InputWrites(int functions)
{
    private const int Reads = 1, Writes = 2;
    private readonly int[] seen = new int[functions];

    /// <summary>Calls a function with an input that it may write to, and returns what it gave.</summary>
    /// <param name="function">The function's number.</param>
    /// <param name="input">The state, which stays as it is.</param>
    /// <param name="call">The function.</param>
    public Tensor Guarded(int function, Tensor input, Func<Tensor, Tensor> call)
    {
        if (Volatile.Read(ref seen[function]) == Writes)
        {
            return call(input.clone());
        }

        // What is made in inference mode has no version: nothing can be learned from it.
        var countable = !is_inference_mode_enabled();
        if (Volatile.Read(ref seen[function]) == Reads && countable)
        {
            var version = Functions.TensorVersion(input);
            var result = call(input);
            return Functions.TensorVersion(input) == version
                ? result
                : throw new ResNetNodesException(
                    $"function {function} wrote to its input in place, which its first evaluation had not done; let it do so always or never");
        }

        var copy = input.clone();
        var before = countable ? Functions.TensorVersion(copy) : 0;
        var output = call(copy);
        if (countable)
        {
            Volatile.Write(ref seen[function], Functions.TensorVersion(copy) == before ? Reads : Writes);
        }

        return output;
    }
}
