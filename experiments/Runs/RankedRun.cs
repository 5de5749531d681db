using ResNetNodes.Distributed;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using TorchSharp;

namespace ResNetNodes.Experiments.Runs;

/// <summary>
/// This process as one of several that mpirun has started. Rank 0 alone writes files and tells how the run goes on; of a failure one rank
/// tells, and ends all.
/// </summary>
internal static class RankedRun
{
    // mpirun's, and those of Slurm's srun, which starts single processes the same way.
    private static readonly string[] RankVariables = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK"];
    private static readonly string[] SizeVariables = ["OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];

    private static readonly TimeSpan FirstTells = TimeSpan.FromSeconds(3), EachTells = TimeSpan.FromMilliseconds(100);
    private static Communicator? ranks;

    /// <summary>Whether there are others.</summary>
    public static bool IsOneOfSeveral => Communicator.IsLaunched && Number(SizeVariables) != 1;

    /// <summary>Whether they train one network. What a rank runs for itself, it runs as if it were alone.</summary>
    public static bool TrainsTogether => IsOneOfSeveral && SharedRuns.Current is null;

    /// <summary>Whether this is rank 0, or alone.</summary>
    public static bool IsFirst => Rank == 0;

    /// <summary>The cores that are this process's: ranks of one machine share them, unless mpirun has given each its own.</summary>
    public static int Cores => Math.Max(1, Math.Min(Environment.ProcessorCount, MachineCores() / (ranks?.LocalSize ?? 1)));

    private static int Rank => ranks?.Rank ?? (IsOneOfSeveral ? Number(RankVariables) ?? 0 : 0);

    /// <summary>
    /// Before anything is written: mpirun lets standard output look like a terminal, and .NET would begin the results with its escapes.
    /// </summary>
    public static void WritePlainly()
    {
        if (Communicator.IsLaunched)
        {
            Environment.SetEnvironmentVariable("TERM", "dumb");
        }
    }

    /// <summary>Refuses verbs that run in one process.</summary>
    public static void Check(Verb verb)
    {
        if (IsOneOfSeveral && !Attribute.IsDefined(verb.GetType(), typeof(RankedAttribute)))
        {
            var able = verb.Verbs.Visible.Where(type => Attribute.IsDefined(type, typeof(RankedAttribute))).Select(Verb.NameOf);
            throw new UsageException($"{verb.Name} runs in one process; start it without mpirun, which is for {string.Join(", ", able)}");
        }
    }

    /// <summary>Joins the others, and checks that all have been started alike.</summary>
    /// <param name="verb">What they run.</param>
    /// <returns>The ranks; null where this process trains alone.</returns>
    public static Communicator? Join(Verb verb)
    {
        if (!TrainsTogether)
        {
            return null;
        }

        Meet(verb);
        if (verb.Group<ThreadsGroup>() is { Text: null })
        {
            torch.set_num_threads(Cores);
        }

        return ranks;
    }

    /// <summary>Joins the others, started alike, without a network that all train.</summary>
    public static Communicator Meet(Verb verb)
    {
        ranks = Communicator.OpenMpi();
        ranks.RequireSame(
        [
            $"version {NativeRuntime.Version}",
            .. new[] { typeof(Communicator), typeof(RankedRun) }
                .Select(type => $"build {type.Module.ModuleVersionId} of {type.Assembly.GetName().Name}"),
            $"verb {verb.Name}",
            .. RunConfig.Fixed(verb).Select(option => $"--{option.Name} {option.Text ?? "left out"}"),
        ]);
        verb.Launcher = $"mpirun -n {ranks.Size} ";
        return ranks;
    }

    /// <summary>Does something on one rank of each machine, and then on the others: what the first has fetched, they find.</summary>
    public static T InTurn<T>(Func<T> what)
    {
        var others = TrainsTogether ? ranks : null;
        if (others?.LocalRank > 0)
        {
            others.Barrier();
        }

        var result = what();
        if (others?.LocalRank == 0)
        {
            others.Barrier();
        }

        return result;
    }

    /// <summary>Leaves the others, who do so too.</summary>
    public static void Leave()
    {
        ranks?.Dispose();
        ranks = null;
    }

    /// <summary>
    /// Tells of a failure, from one rank: rank 0, if it has failed too, or another one, if rank 0's has not ended all in the meantime.
    /// </summary>
    /// <param name="code">The exit code.</param>
    /// <param name="message">The failure.</param>
    /// <param name="isShared">Whether all ranks have ended in the same place.</param>
    /// <param name="ended">Cancelled where this rank is asked to end.</param>
    public static void Fail(int code, string message, bool isShared, CancellationToken ended)
    {
        isShared = SharedRuns.Current?.IsOver ?? isShared;
        if (IsFirst)
        {
            Console.Error.WriteLine(ErrorLine.Of(message));
        }
        else if (!isShared && !ended.WaitHandle.WaitOne(FirstTells + (EachTells * Math.Min(Rank, 20))))
        {
            var name = $"rank {Rank}";
            var isNamed = message.StartsWith(name + ' ', StringComparison.Ordinal);
            Console.Error.WriteLine(ErrorLine.Of(isNamed ? message : $"{name}: {message}"));
        }

        if (isShared)
        {
            Leave();
        }
        else
        {
            ranks?.Abort(code);
        }
    }

    private static int? Number(string[] variables) => variables.Select(Environment.GetEnvironmentVariable)
        .Where(text => text is not null).Select(text => int.TryParse(text, out var number) ? number : (int?)null).FirstOrDefault();

    private static int MachineCores()
    {
        const string online = "/sys/devices/system/cpu/online";
        return File.Exists(online)
            ? File.ReadAllText(online).Trim().Split(',').Sum(range => range.Split('-') is [var first, var last]
                ? int.Parse(last) - int.Parse(first) + 1
                : 1)
            : Environment.ProcessorCount;
    }
}
