namespace ResNetNodes.Experiments.Cli;

/// <summary>What the exit code of the program says.</summary>
internal static class ExitCode
{
    public const int Success = 0, Failed = 1, WrongUsage = 2, Diverged = 3;

    /// <summary>Added to the number of the signal that ended the program.</summary>
    public const int OfASignal = 128;
}

/// <summary>The line that tells of a failure.</summary>
internal static class ErrorLine
{
    private const string Lead = "resnet-nodes: ";

    public static string Of(string message) => Lead + message.Split('\n')[0];

    /// <summary>The message of such a line that another process of this program has written.</summary>
    public static string MessageOf(string line) => line.StartsWith(Lead, StringComparison.Ordinal) ? line[Lead.Length..] : line;
}

/// <summary>The command line was wrong.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A signal ended the run where it was.</summary>
/// <param name="where">Such as "in epoch 3, after step 20".</param>
internal sealed class InterruptedException(string where) : OperationCanceledException("interrupted " + where);

/// <summary>Results can't be written.</summary>
internal sealed class LostOutputException(string message) : Exception(message);

/// <summary>Whoever read standard output has left: success.</summary>
internal sealed class ClosedPipeException() : Exception("standard output was closed by its reader");
