using System.Runtime.InteropServices;

namespace ResNetNodes.Experiments.Cli;

/// <summary>
/// Signals that ask the program to end: the first one ends the run in order, a second one the process at once.
/// </summary>
internal sealed class Signals
{
    private const int Terminate = 15;

    // With the numbers that exit codes are made of: .NET's own are others.
    private static readonly (PosixSignal Signal, int Number)[] Ending =
        [(PosixSignal.SIGINT, 2), (PosixSignal.SIGTERM, Terminate), (PosixSignal.SIGHUP, 1)];

    private readonly CancellationTokenSource cancellation = new();
    private readonly List<PosixSignalRegistration> registrations;
    private int received;

    public Signals() => registrations =
        [.. Ending.Select(pair => PosixSignalRegistration.Create(pair.Signal, context => Receive(context, pair.Number)))];

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Cancellation => cancellation.Token;

    /// <summary>What a shell expects of a program that a signal has ended.</summary>
    public int Code => ExitCode.OfASignal + received;

    /// <summary>Ends the run in order, as a first signal does; nothing where one has come.</summary>
    public void Ask()
    {
        if (Interlocked.CompareExchange(ref received, Terminate, 0) == 0)
        {
            _ = cancellation.CancelAsync();
        }
    }

    private void Receive(PosixSignalContext context, int number)
    {
        context.Cancel = true;
        if (Interlocked.CompareExchange(ref received, number, 0) != 0)
        {
            Posix.ExitNow(ExitCode.OfASignal + number);
        }

        // Not on this thread: what is cancelled may take long, and a second signal has to be heard meanwhile.
        _ = cancellation.CancelAsync();
    }
}
