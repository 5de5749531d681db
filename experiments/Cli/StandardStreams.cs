using System.Runtime.InteropServices;
using System.Text;

namespace ResNetNodes.Experiments.Cli;

/// <summary>
/// Standard output and standard error with their failures told apart. .NET's own take a full disk for an exception in any place that
/// writes a line, and a reader that has left for success. Results that can't be written end the run; lines for people never do: the run
/// goes on without them, and its exit code tells.
/// </summary>
internal static class StandardStreams
{
    private static Errors? errors;

    /// <summary>Whether lines for people were lost, to something else than a reader that has left.</summary>
    public static bool HaveLostLines => errors?.Lost == true;

    /// <summary>Puts them in the place of .NET's.</summary>
    public static void Install()
    {
        Console.SetOut(Writer(new Results()));
        Console.SetError(Writer(errors = new Errors()));
    }

    private static StreamWriter Writer(Stream stream) =>
        new(stream, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { AutoFlush = true };

    private sealed class Results : WriteOnlyStream
    {
        public override void Write(ReadOnlySpan<byte> buffer)
        {
            switch (Posix.WriteAll(Posix.StandardOutput, buffer))
            {
                case 0:
                    break;
                case Posix.BrokenPipe:
                    throw new ClosedPipeException();
                case var error:
                    throw new LostOutputException($"standard output can't be written: {Marshal.GetPInvokeErrorMessage(error)}");
            }
        }
    }

    private sealed class Errors : WriteOnlyStream
    {
        public bool Lost { get; private set; }

        public override void Write(ReadOnlySpan<byte> buffer) =>
            Lost |= Posix.WriteAll(Posix.StandardError, buffer) is not (0 or Posix.BrokenPipe);
    }

    private abstract class WriteOnlyStream : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public abstract override void Write(ReadOnlySpan<byte> buffer);

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
