using ResNetNodes.Interop;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>What the backward passes of a stage have reported. Calls may come from any thread.</summary>
/// <param name="owner">The stage's name, for the error of a call that outlives it.</param>
internal sealed class StageResults(string owner) : IDisposable
{
    [ThreadStatic]
    private static List<Tensor?>? returned;

    private readonly object reading = new();
    private StageReport? last;
    private StageContext? unread;
    private bool disposed;

    /// <summary>The report of the last backward pass. Blocks until the GPU has finished that pass.</summary>
    public StageReport? Last
    {
        get
        {
            lock (reading)
            {
                Read();
                return last;
            }
        }
    }

    /// <summary>
    /// Takes over the wrappers of gradients that a backward pass returns. Autograd takes references of its own once that has returned to
    /// it, so that they can be let go of when this thread comes by again.
    /// </summary>
    public static void KeepUntilNext(List<Tensor?> gradients)
    {
        ReleaseGradients();
        returned = gradients;
    }

    /// <summary>Lets go of what this thread's last backward pass returned.</summary>
    public static void ReleaseGradients()
    {
        returned?.ForEach(gradient => gradient?.Dispose());
        returned = null;
    }

    /// <exception cref="ObjectDisposedException">The stage is disposed.</exception>
    public void ThrowIfDisposed()
    {
        if (Volatile.Read(ref disposed))
        {
            throw new ObjectDisposedException(owner);
        }
    }

    /// <summary>Takes over a context whose backward pass is done. Its report is read at once if that does not block.</summary>
    public void Take(StageContext context)
    {
        lock (reading)
        {
            unread?.Dispose();
            unread = context;
            ReadIfReady();
        }
    }

    /// <summary>Reads the last report if that does not block.</summary>
    public void Settle()
    {
        lock (reading)
        {
            ReadIfReady();
        }
    }

    public void Dispose()
    {
        lock (reading)
        {
            Volatile.Write(ref disposed, true);
            unread?.Dispose();
            unread = null;
        }

        ReleaseGradients();
    }

    private void ReadIfReady()
    {
        if (unread?.ReportIsReady() ?? false)
        {
            Read();
        }
    }

    private void Read()
    {
        if (unread is not { } context)
        {
            return;
        }

        unread = null;
        using (context)
        {
            using var report = context.Report();
            last = new StageReport(report);
        }
    }
}
