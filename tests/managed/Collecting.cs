namespace ResNetNodes.Tests;

/// <summary>Collects garbage, and finalizes it, on another thread until it is disposed.</summary>
internal sealed class Collecting : IDisposable
{
    private readonly Thread thread;
    private volatile bool stopped;

    public Collecting()
    {
        thread = new Thread(() =>
        {
            while (!stopped)
            {
                GC.Collect(0);
                GC.WaitForPendingFinalizers();
            }
        });
        thread.Start();
    }

    public void Dispose()
    {
        stopped = true;
        thread.Join();
    }
}
