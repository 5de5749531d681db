using System.Globalization;
using ResNetNodes.Experiments.Cli.Parsing;
using ResNetNodes.Networks;
using ResNetNodes.Training;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>The numbers that an option takes.</summary>
/// <param name="Least">The smallest.</param>
/// <param name="Most">The largest.</param>
/// <param name="Reason">Why there are no larger ones; ends the message that refuses them.</param>
internal sealed record Limit(double Least, double Most, string Reason)
{
    /// <summary>Whether only whole numbers are meant.</summary>
    public bool IsWhole { get; init; } = true;

    /// <summary>Whether it is bytes, which may have a unit.</summary>
    public bool IsBytes { get; init; }

    /// <summary>Whether <see cref="Least"/> itself is too small.</summary>
    public bool IsAbove { get; init; }

    /// <summary>Whether <see cref="Most"/> itself is too large.</summary>
    public bool IsBelow { get; init; }

    public bool Holds(double number) => (IsAbove ? number > Least : number >= Least) && (IsBelow ? number < Most : number <= Most);

    public override string ToString()
    {
        var from = IsAbove ? "above" : "from";
        var to = (IsAbove, IsBelow) switch
        {
            (true, true) => "and below",
            (true, false) => "and up to",
            (false, true) => "to below",
            _ => "to",
        };
        return IsBytes
            ? string.Create(CultureInfo.InvariantCulture, $"bytes from {Least} to {Most}, as 2000000, 500MiB, 1.5GiB or 2GB: {Reason}")
            : string.Create(
                CultureInfo.InvariantCulture, $"a {(IsWhole ? "whole number" : "number")} {from} {Least} {to} {Most}: {Reason}");
    }
}

/// <summary>
/// The range of every option that is a number, by its name: one place for all verbs. A range ends where nothing useful lies beyond,
/// so that no number lets a run go on for ever; what depends on the memory of the machine is <see cref="MemoryNeed"/>'s.
/// </summary>
internal static class Limits
{
    private const int MostSteps = 10_000_000, MostPlanes = 1 << 16, MostPixels = 1 << 13, MostBatch = 1_000_000;

    private static readonly int MostThreads = Math.Max(64, 4 * Environment.ProcessorCount);

    private static readonly Limit
        Depth = new(1, NetworkSize.MostBlocks, "functions are evaluated one after the other, and so many take minutes a step"),
        Epochs = new(1, Schedule.MostEpochs, "at a second each they take a day"),
        Steps = new(1, MostSteps, "at a millisecond each they take hours"),
        Pixels = new(1, MostPixels, "a larger image has more pixels than cameras take"),
        Seed = new(0, int.MaxValue, "seeds are numbers of 31 bits"),
        Threads = new(1, MostThreads, "more than four threads a core only wait for one another"),
        Rate = new(0, 1e6, "a larger learning rate diverges in its first step") { IsWhole = false, IsAbove = true },
        Decay = new(0, 1e3, "weights that lose more than they are in each step diverge") { IsWhole = false };

    private static readonly Dictionary<string, Limit> Table = new()
    {
        ["accumulate"] = new(1, MostBatch, "more batches are a data set, not a step"),
        ["adjoint-from"] = new(1, NetworkSize.MostBlocks, "no stage has more functions"),
        ["at"] = Steps with { Least = 0 },
        ["batch"] = new(1, MostBatch, "more images are a data set, not a step"),
        ["budget-sweep"] = new(2, 100, "more budgets lie closer together than measurements tell apart"),
        ["classes"] = new(1, MostBatch, "no data set here has more"),
        ["clip"] = new(0, 1e6, "gradients so large have diverged") { IsWhole = false, IsAbove = true },
        ["depth"] = Depth,
        ["depths"] = Depth,
        ["dimension"] = new(1, 1 << 14, "a matrix of so many rows takes 2 GiB"),
        ["ema"] = new(0, 1, "an average of decay 1 never changes") { IsWhole = false, IsAbove = true, IsBelow = true },
        ["epochs"] = Epochs,
        ["image"] = Pixels,
        ["image-size"] = Pixels,
        ["jobs"] = Threads with { Reason = "more than four runs a core only wait for one another" },
        ["label-smoothing"] = new(0, 1, "at 1 labels mean nothing") { IsWhole = false, IsBelow = true },
        ["last-norm-decay"] = Decay,
        ["limit"] = new(1, int.MaxValue, "images are counted in 31 bits"),
        ["lr"] = Rate,
        ["lr-from"] = Rate,
        ["lr-to"] = Rate,
        ["max-depth"] = Depth with { Least = 2 },
        ["memory"] = new(1, 1L << 50, "no machine has more memory") { IsBytes = true },
        ["mixup"] = new(0, Mixup.MostAlpha, "all shares are about a half there") { IsWhole = false, IsAbove = true },
        ["momentum"] = new(0, 1, "from 1 on, no step ever fades") { IsWhole = false, IsBelow = true },
        ["patience"] = Epochs,
        ["planes"] = new(1, MostPlanes, "a convolution of so many channels has 144 GiB of weights"),
        ["pretrain-epochs"] = Epochs,
        ["pretrain-lr"] = Rate,
        ["repetitions"] = new(1, 100_000, "medians no longer change"),
        ["save-minutes"] = new(0, 100_000, "no epoch takes more than ten weeks") { IsWhole = false, IsAbove = true },
        ["save-steps"] = Steps,
        ["seed"] = Seed,
        ["seeds"] = Seed,
        ["stage-rate-factor"] = Rate with { Most = NetworkSize.MostBlocks, Reason = "the factor stands for a depth, and none is larger" },
        ["steps"] = Steps,
        ["stretch-from"] = Depth,
        ["threads"] = Threads,
        ["timed-steps"] = Steps with { Least = 0 },
        ["top"] = new(1, MostBatch, "no network here has more classes"),
        ["tolerance"] = new(0, 1e6, "no descent begins at a larger loss") { IsWhole = false },
        ["train-steps"] = Steps with { Least = 0 },
        ["validation"] = new(0, 1, "some images have to be trained with") { IsWhole = false, IsAbove = true, IsBelow = true },
        ["weight-decay"] = Decay,
        ["workers"] = Threads,
    };

    public static Limit Of(string option) => Table[option];

    /// <summary>
    /// Refuses a number out of its range, whoever would read it: this verb, or a child of it when there is a folder already.
    /// </summary>
    public static void Check(VerbOption option)
    {
        if (option.Text is not { } text || !Table.TryGetValue(option.Name, out var limit))
        {
            return;
        }

        var isList = option.MetaValue.EndsWith(",...", StringComparison.Ordinal);
        foreach (var part in isList ? Read.Several(option.Name, text, part => part) : [text])
        {
            _ = limit.IsBytes ? Read.Bytes(option.Name, part)
                : limit.IsWhole ? Read.Whole(option.Name, part)
                : Read.Number(option.Name, part);
        }
    }
}
