namespace ResNetNodes.Distributed;

/// <summary>An operation of several ranks that is under way. Its tensor is not to be written or read until it is done.</summary>
public sealed class Communication
{
    private readonly Communicator ranks;
    private readonly long number;
    private bool isDone;

    internal Communication(Communicator ranks, long number) => (this.ranks, this.number) = (ranks, number);

    /// <summary>Waits for its end; returns at once where it has been waited for.</summary>
    /// <exception cref="ResNetNodesException">
    /// The other ranks have not come for <see cref="Communicator.Timeout"/>, or their network has failed.
    /// </exception>
    public void Wait()
    {
        if (!isDone)
        {
            ranks.Wait(number);
            isDone = true;
        }
    }
}
