using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using TorchSharp;

namespace ResNetNodes;

/// <summary>Brings an exception of a stage's backward pass through autograd's engine to the caller of <c>backward</c>.</summary>
public static partial class BackwardFailure
{
    [ThreadStatic]
    private static ExceptionDispatchInfo? pending;

    // Of a device's thread: autograd runs the nodes of accelerators there, the caller waits elsewhere.
    private static ExceptionDispatchInfo? pendingElsewhere;

    /// <summary>
    /// <c>loss.backward()</c>, where an exception inside of a residual stage arrives as itself, with its stack. (Plain
    /// <c>backward()</c> throws an <see cref="ExternalException"/> whose message contains the exception's.)
    /// </summary>
    /// <param name="loss">A tensor of one element.</param>
    public static void BackwardThroughStages(this torch.Tensor loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        Unwrap(() => loss.backward());
    }

    /// <summary>Runs a backward pass; a stage's exception in it leaves as itself.</summary>
    internal static void Unwrap(Action backward)
    {
        TakePending();
        try
        {
            backward();
        }
        catch (ExternalException) when (pending is not null || Volatile.Read(ref pendingElsewhere) is not null)
        {
            // Thrown again below, as itself.
        }

        TakePending()?.Throw();
    }

    /// <summary>Keeps an exception for the caller of <c>backward</c>.</summary>
    internal static void Keep(Exception exception, bool onCallersThread)
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
    /// Whether a function has failed in the running backward pass: TorchSharp's calls clear the last error when they begin, and
    /// whoever called <c>backward</c> has taken it. Whoever asks has to <see cref="Signal"/> again, as its last call.
    /// </summary>
    internal static bool HasFailed() => THSTorch_get_and_reset_last_err() != IntPtr.Zero;

    /// <summary>
    /// Leaves an error for TorchSharp, which looks for one as soon as the engine has returned, and throws it. A file that can't
    /// be opened makes one that carries a text; nothing else of TorchSharp lets a text in. Any other call clears it.
    /// </summary>
    internal static void Signal() =>
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
