using ResNetNodes.Interop;
using static TorchSharp.torch;

namespace ResNetNodes.Stages.Engine;

/// <summary>What the calls of a stage leave behind: their reports, and the gradients that they returned.</summary>
/// <param name="owner">The stage's name, for the error of a call that outlives it.</param>
/// <param name="reported">Called with each report when it is read.</param>
internal sealed class StageResults(string owner, Action<StageReport> reported) : IDisposable
{
    private List<Tensor?> returned = [];
    private StageReport? last;
    private StageContext? unread;
    private bool disposed;

    /// <summary>The report of the last backward pass. Blocks until the GPU has finished that pass.</summary>
    public StageReport? Last
    {
        get
        {
            Read();
            return last;
        }
    }

    /// <exception cref="ObjectDisposedException">The stage is disposed.</exception>
    public void ThrowIfDisposed()
    {
        if (disposed)
        {
            throw new ObjectDisposedException(owner);
        }
    }

    /// <summary>Takes over a context whose backward pass is done. Its report is read at once if that does not block.</summary>
    public void Take(StageContext context)
    {
        unread?.Dispose();
        unread = context;
        ReadIfReady();
    }

    /// <summary>Takes over the wrappers of gradients that a backward pass returns: autograd takes references of its own.</summary>
    public void Take(List<Tensor?> gradients)
    {
        ReleaseGradients();
        returned = gradients;
    }

    /// <summary>Lets go of what the last backward pass returned, and reads its report if that does not block.</summary>
    public void Settle()
    {
        ReleaseGradients();
        ReadIfReady();
    }

    public void Dispose()
    {
        disposed = true;
        ReleaseGradients();
        unread?.Dispose();
        unread = null;
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

        reported(last);
    }

    private void ReleaseGradients()
    {
        returned.ForEach(gradient => gradient?.Dispose());
        returned = [];
    }
}
