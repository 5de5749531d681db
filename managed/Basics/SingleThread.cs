namespace ResNetNodes;

/// <summary>Keeps a second thread out of what serves one at a time, instead of letting both spoil it.</summary>
/// <param name="what">What it is, as the error names it.</param>
internal sealed class SingleThread(string what)
{
    private readonly object running = new();

    /// <summary>Begins a call of this thread, which may call again inside; ends it when disposed.</summary>
    /// <exception cref="ResNetNodesException">Another thread is at it.</exception>
    public Call Enter() =>
        Monitor.TryEnter(running)
            ? new Call(running)
            : throw new ResNetNodesException($"{what} is in use by another thread; it serves one at a time");

    /// <summary>A call that is under way.</summary>
    public readonly struct Call(object running) : IDisposable
    {
        public void Dispose() => Monitor.Exit(running);
    }
}
