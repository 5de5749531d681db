using ResNetNodes.Interop;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>
/// Which functions write to their input, as one does whose first layer is an in-place ReLU. The input is the stage's state, or its caller's
/// tensor: such functions get a copy. Each function's first evaluation tells. Calls may come from any thread.
/// </summary>
/// <param name="functions">How many functions there are.</param>
/// <param name="nameOf">What a message calls one.</param>
internal sealed class InputWrites(int functions, Func<int, string> nameOf)
{
    private const int Reads = 1, Writes = 2;
    private readonly int[] seen = new int[functions];

    /// <summary>Calls a function with an input that it may write to, and returns what it gave.</summary>
    /// <param name="function">The function's number.</param>
    /// <param name="input">The state, which stays as it is.</param>
    /// <param name="call">The function.</param>
    public Tensor Guarded(int function, Tensor input, Func<Tensor, Tensor> call)
    {
        if (Volatile.Read(ref seen[function]) == Reads && Version(input) is { } version)
        {
            var result = call(input);
            return Version(input) == version
                ? result
                : throw new ResNetNodesException(
                    $"{nameOf(function)} wrote to its input in place, which its first evaluation had not done; "
                    + "let it do so always or never");
        }

        var copy = input.clone();
        var before = Version(copy);
        var output = call(copy);
        if (before is not null && Volatile.Read(ref seen[function]) == 0)
        {
            Volatile.Write(ref seen[function], Version(copy) == before ? Reads : Writes);
        }

        return output;
    }

    // An inference tensor has none: nothing can be learned from it.
    private static long? Version(Tensor tensor)
    {
        try
        {
            return is_inference_mode_enabled() ? null : Functions.TensorVersion(tensor);
        }
        catch (ResNetNodesException)
        {
            return null; // made in that mode, used outside of it
        }
    }
}
