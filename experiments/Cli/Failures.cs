namespace ResNetNodes.Experiments.Cli;

/// <summary>The command line was wrong: exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>Whoever read standard output has left: success.</summary>
internal sealed class ClosedPipeException(Exception cause) : Exception("standard output was closed", cause);
