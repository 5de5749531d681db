using System.Reflection;
using System.Text;
using ResNetNodes.Distributed;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Parsing;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// The runs of a verb, shared out to the ranks that mpirun has started. Rank 0 is at the verb as if it were alone; the others take runs
/// that it offers, each in a process of its own. They agree by files: whoever waits, for hours maybe, waits in no operation of MPI.
/// </summary>
internal sealed class SharedRuns
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);

    private readonly Communicator ranks;
    private readonly Signals signals;
    private RankBoard? board;
    private RunFolder? folder;
    private Timer? watch;
    private volatile bool isEnding;
    private int lists;

    private SharedRuns(Communicator ranks, Signals signals) => (this.ranks, this.signals) = (ranks, signals);

    /// <summary>Those of this launch; null where none are shared.</summary>
    public static SharedRuns? Current { get; private set; }

    /// <summary>Whether all ranks have ended their work together.</summary>
    public bool IsOver { get; private set; }

    /// <summary>
    /// Where a verb shares its runs: joins the others, and on ranks other than the first does runs until none come any more.
    /// </summary>
    /// <param name="verb">What all ranks were started with.</param>
    /// <param name="signals">Of this rank.</param>
    /// <returns>Whether that was all that this rank has to do.</returns>
    public static bool Help(Verb verb, Signals signals)
    {
        if (!RankedRun.IsOneOfSeveral || verb.GetType().GetCustomAttribute<RankedAttribute>() is not { SharesRuns: true })
        {
            return false;
        }

        Current = new(RankedRun.Meet(verb), signals);
        if (RankedRun.IsFirst)
        {
            return false;
        }

        Current.Help();
        return true;
    }

    /// <summary>On rank 0: shows the others where the runs are. The first folder that is opened is that of the verb.</summary>
    /// <param name="opened">A folder that this process is about to work in.</param>
    /// <exception cref="ResNetNodesException">A rank does not see it.</exception>
    public void Show(RunFolder opened)
    {
        if (folder is not null)
        {
            return;
        }

        board = RankBoard.Open(opened);
        folder = opened;
        ranks.FromFirst(Encoding.UTF8.GetBytes(board.Name));
        var blind = Array.FindIndex(ranks.Gather(1), seen => seen[0] == 0);
        if (blind >= 0)
        {
            End(opened);
            throw new ResNetNodesException(
                $"{opened.Path}: rank {blind} does not see this folder, or can't write to it; take an --out that all ranks share");
        }

        // Of a rank that is asked to end, all do.
        watch = new(
            _ =>
            {
                if (!board.IsOpen && !isEnding)
                {
                    signals.Ask();
                }
            },
            null, Look, Look);
    }

    /// <summary>On rank 0: has all runs of a list done, each by the rank that takes it first.</summary>
    /// <param name="runs">The runs.</param>
    /// <param name="finish">Gets the index of a run, its rank, and a function that returns what it wrote on standard output.</param>
    /// <param name="cancellation">Ends all of them.</param>
    public void Each(RunList runs, Action<int, int, Func<string>> finish, CancellationToken cancellation)
    {
        var (list, left) = (lists++, runs.Runs.Count);
        try
        {
            board!.Offer(list, runs);
            Jobs.Each(runs.Jobs + 1, runs.Jobs + 1, cancellation, (job, goOn) =>
            {
                if (job == runs.Jobs)
                {
                    Collect(goOn);
                    return;
                }

                foreach (var run in board.Claim(list, runs, goOn))
                {
                    Finish(run, 0, () => runs.Run(run, string.Empty, goOn));
                }
            });
        }
        catch
        {
            // No run goes on in a folder that is about to be left.
            End(folder!);
            throw;
        }

        void Collect(CancellationToken goOn)
        {
            var known = new HashSet<int>();
            while (Volatile.Read(ref left) > 0 && !goOn.WaitHandle.WaitOne(Look))
            {
                foreach (var (run, outcome) in board!.Reports(list, known))
                {
                    Finish(run, outcome.Rank, outcome.Output);
                }
            }
        }

        void Finish(int run, int rank, Func<string> output)
        {
            finish(run, rank, output);
            Interlocked.Decrement(ref left);
        }
    }

    /// <summary>On rank 0: lets all ranks end, and waits until their runs have.</summary>
    /// <param name="left">The folder that this process leaves: that of the verb, or of a run inside.</param>
    public void End(RunFolder left)
    {
        if (IsOver || left != folder)
        {
            return;
        }

        isEnding = true;
        watch?.Dispose();
        board!.Close();
        ranks.Barrier();
        IsOver = true;
        RankBoard.Clear(left.Path);
    }

    private void Help()
    {
        board = new(Encoding.UTF8.GetString(ranks.FromFirst(null)));
        if (ranks.Gather(board.IsShared(ranks.Rank) ? 1 : 0).All(seen => seen[0] == 1))
        {
            Work(board);
        }

        ranks.Barrier();
        IsOver = true;
        signals.Cancellation.ThrowIfCancellationRequested();
    }

    private void Work(RankBoard offers)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(signals.Cancellation);
        var work = Task.Run(() =>
        {
            for (var list = 0; ; list++)
            {
                var runs = offers.Await(list, stop.Token);
                Jobs.Each(runs.Jobs, runs.Jobs, stop.Token, (_, goOn) =>
                {
                    foreach (var run in offers.Claim(list, runs, goOn))
                    {
                        offers.Report(list, run, RunOutcome.Of(ranks.Rank, () => runs.Run(run, $", on rank {ranks.Rank}", goOn)));
                    }
                });
            }
        });
        while (Task.WaitAny([work], Look) < 0)
        {
            if (!offers.IsOpen)
            {
                stop.Cancel();
            }
        }

        offers.Close();
        try
        {
            work.GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            // The runs are over, or this rank was asked to end, and by the board all are.
        }
    }
}
