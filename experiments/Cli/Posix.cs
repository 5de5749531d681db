using System.Runtime.InteropServices;

namespace ResNetNodes.Experiments.Cli;

/// <summary>What .NET does not pass on from the C library.</summary>
internal static partial class Posix
{
    public const int StandardInput = 0, StandardOutput = 1, StandardError = 2;
    public const int BrokenPipe = 32;
    private const int Interrupted = 4, InputOutput = 5, TryAgain = 11;
    private const short Writable = 4;

    /// <summary>Ends the process at once: nothing is cleaned up, nothing is waited for.</summary>
    [LibraryImport("libc", EntryPoint = "_exit")]
    public static partial void ExitNow(int code);

    /// <summary>Writes to a descriptor all that is given.</summary>
    /// <returns>0, or the error's number.</returns>
    public static int WriteAll(int descriptor, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            var written = Write(descriptor, bytes, bytes.Length);
            if (written > 0)
            {
                bytes = bytes[(int)written..];
                continue;
            }

            // Some devices take nothing, and call it no error.
            switch (written == 0 ? InputOutput : Marshal.GetLastPInvokeError())
            {
                case Interrupted:
                    break;
                case TryAgain:
                    // Whoever started this program made the descriptor one that does not wait.
                    var waited = new PollEntry { Descriptor = descriptor, Events = Writable };
                    _ = Poll(ref waited, 1, -1);
                    break;
                case var error:
                    return error;
            }
        }

        return 0;
    }

    /// <summary>Waits until the other end of a descriptor is closed.</summary>
    /// <param name="descriptor">Is read to its end.</param>
    /// <param name="came">Called when anything comes.</param>
    public static void WaitForEnd(int descriptor, Action came)
    {
        Span<byte> dropped = stackalloc byte[64];
        nint got;
        do
        {
            got = Read(descriptor, dropped, dropped.Length);
            if (got > 0)
            {
                came();
            }
        }
        while (got > 0 || (got < 0 && Marshal.GetLastPInvokeError() == Interrupted));
    }

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint Write(int descriptor, ReadOnlySpan<byte> bytes, nint count);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(int descriptor, Span<byte> bytes, nint count);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(ref PollEntry entry, nuint count, int milliseconds);

    [StructLayout(LayoutKind.Sequential)]
    private struct PollEntry
    {
        public int Descriptor;
        public short Events;
        public short Happened;
    }
}
