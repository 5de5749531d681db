using System.Runtime.ExceptionServices;

namespace ResNetNodes.Tests;

/// <summary>Threads of a test: all begin together, and the first failure of one is the test's.</summary>
internal static class TestThreads
{
    /// <summary>Runs the body in so many threads, each with its number, until all have ended.</summary>
    public static void Run(int count, Action<int> body) => Run([.. Enumerable.Range(0, count).Select(i => (Action)(() => body(i)))]);

    /// <summary>Runs each body in a thread of its own until all have ended.</summary>
    public static void Run(params Action[] bodies)
    {
        ExceptionDispatchInfo? failure = null;
        using var start = new Barrier(bodies.Length);
        var threads = bodies.Select(body => new Thread(() =>
        {
            start.SignalAndWait();
            try
            {
                body();
            }
            catch (Exception exception)
            {
                Interlocked.CompareExchange(ref failure, ExceptionDispatchInfo.Capture(exception), null);
            }
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        failure?.Throw();
    }
}
