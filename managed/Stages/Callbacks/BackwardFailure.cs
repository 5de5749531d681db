using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace ResNetNodes.Stages.Callbacks;

/// <summary>Carries an exception out of a stage's backward pass, through autograd's engine, to the caller of <c>backward</c>.</summary>
internal static partial class BackwardFailure
{
    [ThreadStatic]
    private static ExceptionDispatchInfo? pending;

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
        catch (ExternalException) when (pending is not null || Volatile.Read(ref pendingElsewhere) is not null)
        {
            // Rethrown below, as it is.
        }

        TakePending()?.Throw();
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
    public static bool HasFailed() => THSTorch_get_and_reset_last_err() != IntPtr.Zero;

    /// <summary>
    /// Leaves an error for TorchSharp, which looks for one as soon as the engine returns, and throws it. Opening a file that does
    /// not exist is the only call of TorchSharp's that sets an error with a text of our choice. Any other call clears it.
    /// </summary>
    public static void Signal() =>
        _ = THSTensor_load($"\nresidual stage: {pending?.SourceException.Message ?? "an earlier function of the backward pass failed"}");

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
