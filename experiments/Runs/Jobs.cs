using System.Runtime.ExceptionServices;

namespace ResNetNodes.Experiments.Runs;

/// <summary>Parts of a run that go on at the same time.</summary>
internal static class Jobs
{
    /// <summary>Does the work for each index, several at a time. The first failure ends the others, and is the one to tell.</summary>
    /// <param name="count">Indices, from 0.</param>
    /// <param name="jobs">At a time.</param>
    /// <param name="cancellation">Ends all of them.</param>
    /// <param name="work">Gets an index, and what ends it.</param>
    public static void Each(int count, int jobs, CancellationToken cancellation, Action<int, CancellationToken> work)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        ExceptionDispatchInfo? first = null;
        var next = -1;
        // In their order: what costs most may come first.
        Parallel.For(0, Math.Min(jobs, count), new ParallelOptions { MaxDegreeOfParallelism = jobs }, _ =>
        {
            for (var i = Interlocked.Increment(ref next); i < count && !stop.IsCancellationRequested; i = Interlocked.Increment(ref next))
            {
                try
                {
                    work(i, stop.Token);
                }
                catch (Exception exception)
                {
                    Interlocked.CompareExchange(ref first, ExceptionDispatchInfo.Capture(exception), null);
                    stop.Cancel();
                }
            }
        });
        first?.Throw();
        cancellation.ThrowIfCancellationRequested();
    }
}
