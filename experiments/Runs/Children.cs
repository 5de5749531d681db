using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;

namespace ResNetNodes.Experiments.Runs;

/// <summary>A part of an experiment that is a run of its own.</summary>
/// <param name="Key">Its name, and that of its folder.</param>
/// <param name="Verb">What it runs.</param>
/// <param name="Own">Options that take the place of the experiment's.</param>
internal sealed record Child(string Key, Type Verb, params IReadOnlyList<(string Name, string? Value)> Own);

/// <summary>
/// Runs in processes of their own, several at a time, and shared out to the ranks where there are others: they do not share a heap, and a
/// broken one takes nothing along. One that is finished is not started again, and one that was ended goes on.
/// </summary>
/// <param name="folder">Of the experiment: each run gets a folder inside.</param>
/// <param name="experiment">Its options are theirs, as far as they have them.</param>
/// <param name="jobs">How many at a time, of each rank.</param>
internal sealed class Children(RunFolder folder, Experiment experiment, JobsGroup jobs)
{
    /// <summary>Runs them.</summary>
    /// <param name="children">What is to run.</param>
    /// <param name="result">Gets the folder of a run, and a function that runs it and returns what it wrote on standard output.</param>
    /// <param name="finished">Called with the index of a run and its result, one at a time.</param>
    /// <param name="terminal">Shows how many are done.</param>
    /// <param name="cancellation">Ends all of them.</param>
    /// <returns>The results, in the order of the children.</returns>
    public IReadOnlyList<T> Run<T>(
        IReadOnlyList<Child> children,
        Func<string, Func<string>, T> result,
        Action<int, T> finished,
        Terminal terminal,
        CancellationToken cancellation)
        where T : class
    {
        var runs = new RunList(
            jobs.Number, experiment.Threads.Text, [.. children.Select(child => new ChildRun(folder.NewRun(child.Key), WordsOf(child)))]);
        var results = new T[children.Count];
        var done = 0;
        if (SharedRuns.Current is { } shared)
        {
            var left = new List<int>();
            foreach (var (i, child) in children.Index())
            {
                if (folder.Made<T>(child.Key) is { } made)
                {
                    Take(i, 0, made);
                }
                else
                {
                    left.Add(i);
                }
            }

            shared.Each(
                runs with { Runs = [.. left.Select(i => runs.Runs[i])] }, (i, rank, run) => Make(left[i], rank, run), cancellation);
        }
        else
        {
            Jobs.Each(children.Count, jobs.Number, cancellation, (i, goOn) => Make(i, 0, () => runs.Run(i, string.Empty, goOn)));
        }

        return results;

        void Make(int i, int rank, Func<string> run) =>
            Take(i, rank, folder.Point(children[i].Key, () => result(runs.Runs[i].Path, run)));

        void Take(int i, int rank, T made)
        {
            lock (results)
            {
                results[i] = made;
                terminal.Progress((double)++done / children.Count, $"{children[i].Key}: {done} of {children.Count} are done");
                if (rank > 0)
                {
                    terminal.Detail(() => $"{children[i].Key}: run by rank {rank}");
                }

                finished(i, made);
            }
        }
    }

    private List<string> WordsOf(Child child)
    {
        var path = folder.File(child.Key);
        return experiment.WordsFor(
            child.Verb,
            [
                .. child.Own, ("threads", null), ("out", path), ("resume", Directory.Exists(path) ? "true" : null),
                ("quiet", "true"),
            ]);
    }
}
