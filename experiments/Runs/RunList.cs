using ResNetNodes.Experiments.Cli;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Runs;

/// <summary>A run in a process of its own.</summary>
/// <param name="Path">Its folder.</param>
/// <param name="Words">The verb and its options, but for --threads.</param>
internal sealed record ChildRun(string Path, IReadOnlyList<string> Words);

/// <summary>Runs that do not depend on each other.</summary>
/// <param name="Jobs">How many a rank has at a time.</param>
/// <param name="Threads">Of each run; null: its share of the cores.</param>
/// <param name="Runs">The runs.</param>
internal sealed record RunList(int Jobs, string? Threads, IReadOnlyList<ChildRun> Runs)
{
    /// <summary>Runs one, to its end.</summary>
    /// <param name="index">Which.</param>
    /// <param name="where">Follows its folder in what an error of it is led by.</param>
    /// <param name="cancellation">Ends it in order.</param>
    /// <returns>What it wrote on standard output.</returns>
    public string Run(int index, string where, CancellationToken cancellation)
    {
        var threads = Threads ?? $"{Math.Max(1, RankedRun.Cores / Jobs)}";
        var (path, words) = Runs[index];
        return OwnProcess.Run([.. words, $"--threads={threads}"], path + where, inOrder: true, cancellation);
    }
}

/// <summary>What became of a run on another rank.</summary>
/// <param name="Rank">Which.</param>
/// <param name="Code">Its exit code.</param>
/// <param name="Text">What it wrote on standard output, or the failure.</param>
internal sealed record RunOutcome(int Rank, int Code, string Text)
{
    /// <summary>Runs it.</summary>
    /// <param name="rank">This one.</param>
    /// <param name="run">Runs it, and returns what it wrote.</param>
    public static RunOutcome Of(int rank, Func<string> run)
    {
        try
        {
            return new(rank, ExitCode.Success, run());
        }
        catch (UsageException exception)
        {
            return new(rank, ExitCode.WrongUsage, exception.Message);
        }
        catch (DivergedException exception)
        {
            return new(rank, ExitCode.Diverged, exception.Message);
        }
        catch (ResNetNodesException exception)
        {
            return new(rank, ExitCode.Failed, exception.Message);
        }
    }

    /// <summary>What it wrote; fails as it has failed.</summary>
    public string Output() => Code switch
    {
        ExitCode.Success => Text,
        ExitCode.WrongUsage => throw new UsageException(Text),
        ExitCode.Diverged => throw new DivergedException(Text),
        _ => throw new ResNetNodesException(Text),
    };
}
