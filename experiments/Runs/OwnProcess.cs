using System.Diagnostics;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// This program again, in a process of its own: a heap of its own, and nothing that it could take along if it breaks. It ends with
/// the process that started it, however that one ends: it holds the reading end of a pipe, which the kernel closes with the other.
/// </summary>
internal static class OwnProcess
{
    // In the environment of a process that was started here.
    private const string Mark = "RESNET_NODES_STARTED_BY_ITSELF";

    /// <summary>Whether this process was started by another of this program.</summary>
    public static bool IsThis { get; private set; }

    /// <summary>In a process that was started here: watches the one that did, on a thread of its own.</summary>
    /// <param name="asked">Called when that one asks this one to end in order.</param>
    public static void EndWithParent(Action asked)
    {
        if (Environment.GetEnvironmentVariable(Mark) is null)
        {
            return;
        }

        IsThis = true;
        Environment.SetEnvironmentVariable(Mark, null);
        var watch = new Thread(() =>
        {
            Posix.WaitForEnd(Posix.StandardInput, asked);
            Posix.ExitNow(ExitCode.Failed);
        });
        watch.IsBackground = true;
        watch.Start();
    }

    /// <summary>Runs a verb to its end.</summary>
    /// <param name="words">The verb and its options.</param>
    /// <param name="failure">What an error of it is led by.</param>
    /// <param name="inOrder">Whether it is asked to end, and saves what it has, or is killed.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <param name="environment">Variables that it gets besides ours.</param>
    /// <returns>What it wrote on standard output.</returns>
    /// <exception cref="UsageException">It refused an option.</exception>
    /// <exception cref="DivergedException">It trained a network, whose loss is no number any more.</exception>
    /// <exception cref="ResNetNodesException">It failed; the message ends with the last line that it said.</exception>
    public static string Run(
        IEnumerable<string> words,
        string failure,
        bool inOrder,
        CancellationToken cancellation,
        params (string Name, string Value)[] environment)
    {
        cancellation.ThrowIfCancellationRequested();
        var start = new ProcessStartInfo(Environment.ProcessPath!, words)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // It is none of the processes that mpirun has started.
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("OMPI_") || name.StartsWith("PMIX_")).ToList())
        {
            start.Environment.Remove(name);
        }

        foreach (var (name, value) in environment.Append((Mark, "1")))
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        string output;
        Task<string> errors;
        using (cancellation.Register(inOrder ? () => Ask(process) : process.Kill))
        {
            errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
            output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
        }

        cancellation.ThrowIfCancellationRequested();
        var said = errors.Result.Trim().Split('\n')[^1];
        return process.ExitCode switch
        {
            ExitCode.Success => output,
            ExitCode.Diverged => throw new DivergedException($"{failure}: {ErrorLine.MessageOf(said)}"),
            ExitCode.WrongUsage => throw new UsageException(ErrorLine.MessageOf(said)),
            > ExitCode.OfASignal when said.Length == 0 => throw new ResNetNodesException(
                $"{failure}: its process was ended by signal {process.ExitCode - ExitCode.OfASignal}; if nobody did that, "
                + "there was too little memory"),
            _ => throw new ResNetNodesException($"{failure}: {ErrorLine.MessageOf(said)}"),
        };
    }
    // By the pipe: a signal may have come from the terminal too, and a second one would end it at once.
    private static void Ask(Process process)
    {
        try
        {
            process.StandardInput.WriteLine();
            process.StandardInput.Flush();
        }
        catch (IOException)
        {
            // It has ended.
        }
    }
}
