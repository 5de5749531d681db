using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using TorchSharp;

namespace ResNetNodes;

/// <summary>Brings an exception of a stage's backward pass through autograd's engine to the caller of <c>backward</c>.</summary>
public static partial class BackwardFailure
{
    [ThreadStatic]
    private static ExceptionDispatchInfo? pending;

    /// <summary>
    /// <c>loss.backward()</c>, where an exception inside of a residual stage arrives as itself, with its stack. (Plain
    /// <c>backward()</c> throws an <see cref="ExternalException"/> whose message contains the exception's.)
    /// </summary>
    /// <param name="loss">A tensor of one element.</param>
    public static void BackwardThroughStages(this torch.Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        pending = null;
        try
        {
            loss.backward();
        }
        catch (ExternalException) when (pending is not null)
        {
            // Thrown again below, as itself.
        }

        var failure = pending;
        pending = null;
        failure?.Throw();
    }

    internal static void Report(Exception exception)
    {
        pending ??= ExceptionDispatchInfo.Capture(exception);
        // TorchSharp looks for a native error as soon as the engine has returned, and throws it. A file that can't be opened
        // makes one that carries this text; nothing else of TorchSharp lets a text in.
        _ = THSTensor_load($"\nresidual stage: {exception.Message}");
    }

    [LibraryImport("LibTorchSharp", StringMarshalling = StringMarshalling.Utf8)]
    private static partial IntPtr THSTensor_load(string location);
}
