using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using ResNetNodes.Interop;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>Carries an exception out of a stage's backward pass, through autograd's engine, to the caller of <c>backward</c>.</summary>
internal static partial class BackwardFailure
{
    [ThreadStatic]
    private static ExceptionDispatchInfo? pending;

    // What HasFailed took.
    [ThreadStatic]
    private static string? earlier;

    // Autograd runs an accelerator's nodes on a thread of the device, while the caller waits on its own.
    private static ExceptionDispatchInfo? pendingElsewhere;

    /// <summary>Runs a backward pass; an exception thrown by a stage in it is rethrown as it is.</summary>
    public static void Unwrap(Action backward)
    {
        TakePending();
        try
        {
            backward();
        }
        catch (Exception error) when (
            error is ExternalException or ResNetNodesException && (pending ?? Volatile.Read(ref pendingElsewhere)) is not null)
        {
            // Rethrown below, as it is.
        }

        TakePending()?.Throw();
    }

    /// <summary>Gradients that change no tensor's own; an exception thrown by a stage on the way is rethrown as it is.</summary>
    public static Tensor?[] Captured(Tensor output, Tensor cotangent, IReadOnlyList<Tensor> inputs)
    {
        Tensor?[] found = [];
        Unwrap(() =>
        {
            found = Functions.CapturedGradients(output, cotangent, inputs);
            // No call of TorchSharp's own, which would have taken what a failing stage has left.
            _ = THSTorch_get_and_reset_last_err();
        });
        return found;
    }

    /// <summary>Keeps an exception for the caller of <c>backward</c>.</summary>
    public static void Keep(Exception exception, bool onCallersThread)
    {
        var kept = ExceptionDispatchInfo.Capture(exception);
        if (onCallersThread)
        {
            pending = kept;
        }
        else
        {
            Interlocked.CompareExchange(ref pendingElsewhere, kept, null);
        }
    }

    /// <summary>
    /// Whether a function has already failed in the running backward pass: TorchSharp's calls clear the last error when they begin,
    /// and the caller of <c>backward</c> takes it. Asking clears it too: whoever asks has to <see cref="Signal"/> again, last of all.
    /// </summary>
    public static bool HasFailed()
    {
        earlier = Marshal.PtrToStringUTF8(THSTorch_get_and_reset_last_err());
        return earlier is not null;
    }

    /// <summary>
    /// Leaves an error for TorchSharp, which looks for one as soon as the engine returns, and throws it: the one that
    /// <see cref="HasFailed"/> took, for it came first; else the exception that was kept. Any other call of TorchSharp's clears it.
    /// </summary>
    /// <param name="owner">Whose exception it is.</param>
    public static void Signal(string owner)
    {
        var exception = pending?.SourceException;
        var text = earlier
            ?? $"{exception?.Message}\n({exception?.GetType().Name} of {owner}; loss.BackwardThroughStages() throws it itself)";
        earlier = null;
        if (!Functions.LeaveTorchsharpError(text))
        {
            // Opening a file that does not exist is the only call that leaves a text of our choice, behind one of its own.
            _ = THSTensor_load($"\n{owner}: {exception?.Message ?? "an earlier function of the backward pass failed"}");
        }
    }

    private static ExceptionDispatchInfo? TakePending()
    {
        var elsewhere = Interlocked.Exchange(ref pendingElsewhere, null);
        var failure = pending ?? elsewhere;
        pending = null;
        return failure;
    }

    [LibraryImport("LibTorchSharp", StringMarshalling = StringMarshalling.Utf8)]
    private static partial IntPtr THSTensor_load(string location);

    [LibraryImport("LibTorchSharp")]
    private static partial IntPtr THSTorch_get_and_reset_last_err();
}
