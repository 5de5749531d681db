using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>
/// Every number that an option takes has a range, and one out of it ends every verb in one line that names the option, with exit code
/// 2, before there is a folder. Verbs and options come from the help, so that a new option is found here: it needs a line below.
/// </summary>
public sealed class RangeTests : IDisposable
{
    // The ends of whole numbers; a verb may begin later, never end elsewhere.
    private static readonly Dictionary<string, (long Least, long Most)> Whole = new()
    {
        ["accumulate"] = (1, 1_000_000),
        ["adjoint-from"] = (1, 1048576),
        ["at"] = (0, 10_000_000),
        ["batch"] = (1, 1_000_000),
        ["budget-sweep"] = (2, 100),
        ["classes"] = (1, 1_000_000),
        ["depth"] = (1, 1048576),
        ["depths"] = (1, 1048576),
        ["dimension"] = (1, 16384),
        ["epochs"] = (1, 100_000),
        ["image"] = (1, 8192),
        ["image-size"] = (1, 8192),
        ["jobs"] = (1, Threads),
        ["limit"] = (1, int.MaxValue),
        ["max-depth"] = (2, 1048576),
        ["patience"] = (1, 100_000),
        ["planes"] = (1, 65536),
        ["pretrain-epochs"] = (1, 100_000),
        ["repetitions"] = (1, 100_000),
        ["save-steps"] = (1, 10_000_000),
        ["seed"] = (0, int.MaxValue),
        ["seeds"] = (0, int.MaxValue),
        ["steps"] = (1, 10_000_000),
        ["stretch-from"] = (1, 1048576),
        ["threads"] = (1, Threads),
        ["timed-steps"] = (0, 10_000_000),
        ["top"] = (1, 1_000_000),
        ["train-steps"] = (0, 10_000_000),
        ["workers"] = (1, Threads),
    };

    // Numbers that are wrong for each.
    private static readonly Dictionary<string, string[]> Real = new()
    {
        ["clip"] = ["0", "-1", "1000001"],
        ["ema"] = ["0", "1", "-0.1"],
        ["label-smoothing"] = ["-0.1", "1"],
        ["last-norm-decay"] = ["-1", "1001"],
        ["lr"] = ["0", "1000001"],
        ["lr-from"] = ["0", "1000001"],
        ["lr-to"] = ["0", "1000001"],
        ["mixup"] = ["0", "101"],
        ["momentum"] = ["-0.1", "1", "1.5"],
        ["pretrain-lr"] = ["0", "1000001"],
        ["save-minutes"] = ["0", "-1", "100001"],
        ["stage-rate-factor"] = ["0", "1048577"],
        ["tolerance"] = ["-1", "1000001"],
        ["validation"] = ["0", "1", "1.5"],
        ["weight-decay"] = ["-1", "1001"],
    };

    // Words with numbers in them, and words alone.
    private static readonly Dictionary<string, string[]> Words = new()
    {
        ["dataset"] = ["mnist"],
        ["device"] = ["cuda:-1"],
        ["epoch"] = ["mnist"],
        ["execution"] = ["fast"],
        ["memory"] =
        [
            "0", "-1", "0MiB", "0.5", "1e9", "1,5GiB", "1 000MiB", "+1GiB", "0x10", "GiB", "2G", "2GiBs", "2 GiB ",
            "１GiB", "1\u212AiB", "1025TiB", "9e9GiB", "99999999999999999999999999",
        ],
        ["input"] = ["mnist"],
        ["methods"] = ["corrected:2147483647", "adaptive:2", "a,,b"],
        ["names"] = ["theirs"],
        ["network"] = ["large"],
        ["only"] = ["nothing"],
        ["optimizer"] = ["adam", "adamww", ""],
        ["precision"] = ["int8"],
        ["preset"] = ["huge"],
        ["reconstruction"] = ["corrected:2147483647", "adaptive:2", "checkpoint:2147483647", "extrapolated:9"],
        ["reconstructions"] = ["corrected:2147483647", "inverse,", "inverse,,corrected"],
        ["schedule"] =
        [
            "steps:2147483647", "every:0*0.1", "every:2147483647*0.1", "every:1*2", "cosine@epoch", "warmup:5", "warmup:0+cosine",
            "warmup:1.5+cosine", "warmup:10000001steps+cosine",
        ],
        ["size"] = ["auto:2147483647", "custom:1+2+3+99999999999"],
        ["sizes"] = ["auto:2147483647", "18,,34"],
        ["solver"] = ["rk4"],
        ["solvers"] = ["rk4", "euler,,heun"],
        ["split"] = ["validation"],
        ["train-stage"] = ["5"],
    };

    // Files, and switches.
    private static readonly string[] Others =
    [
        "checkpoint", "cifar10", "class-names", "config", "cuda-graphs", "data", "download", "drop-last", "freeze-norms", "from",
        "gradients", "imagenet", "imagenet-stem", "in", "init", "json", "new-head", "no-color", "no-memory", "npy", "out", "overwrite",
        "page", "quiet", "resume", "scale-rate", "skip-corrupt", "stretch-to", "sync-batch-norm", "to", "untie", "verbose", "zero-init",
    ];

    private readonly string folder = Directory.CreateTempSubdirectory("ranges").FullName;

    private static int Threads => Math.Max(64, 4 * Environment.ProcessorCount);

    public static TheoryData<string, string> Options()
    {
        var data = new TheoryData<string, string>();
        foreach (var verb in Help.Verbs)
        {
            foreach (var option in Help.Options(verb).Keys.Except(Others))
            {
                data.Add(verb, option);
            }
        }

        return data;
    }

    private static IReadOnlyList<(string Value, string Message)> Wrong(string option) => Whole.TryGetValue(option, out var range)
        ? [.. new[] { range.Most + 1, range.Least - 1 }.Select(number => ($"{number}", $"to {range.Most}: "))]
        : Real.TryGetValue(option, out var numbers)
        ? [.. numbers.Append("nan").Select(number => (number, "expected a number "))]
        : [.. Words.GetValueOrDefault(option, []).Select(word => (word, $"--{option}"))];

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>One wrong value for each option of each verb, and all that are listed for the first verb that has the option.</summary>
    [Theory]
    [MemberData(nameof(Options))]
    public void ValueOutOfRange_IsOneLineAndLeavesNothing(string verb, string option)
    {
        var all = Wrong(option);
        Assert.True(all.Count > 0, $"--{option} of {verb} needs a line in RangeTests");
        var isFirst = Help.Verbs.First(v => Help.Options(v).ContainsKey(option)) == verb;
        foreach (var (value, message) in isFirst ? all : all.Take(1))
        {
            Refused(verb, option, value, message);
        }
    }

    /// <summary>Whole numbers are plain digits: what means another number elsewhere is no number here.</summary>
    [Theory]
    [InlineData("1,000")]
    [InlineData("1.000")]
    [InlineData("1e3")]
    [InlineData("0x10")]
    [InlineData("+5")]
    [InlineData("-5")]
    [InlineData("05")]
    [InlineData("5 ")]
    [InlineData("1_000")]
    [InlineData("٥")]
    [InlineData("５")]
    [InlineData("5.0")]
    [InlineData("99999999999999999999999999")]
    public void WholeNumber_IsPlainDigits(string text) => Refused("train", "epochs", text, "expected a whole number from 1 to 100000: ");

    [Theory]
    [InlineData("+0.1")]
    [InlineData("0,1")]
    [InlineData("1 000")]
    [InlineData("infinity")]
    [InlineData("1e999")]
    [InlineData("0x1p-3")]
    [InlineData("٠.١")]
    public void Number_IsPlainToo(string text) => Refused("train", "lr", text, "expected a number above 0 and up to 1000000: ");

    [Theory]
    [InlineData("2,,4", "a value between its commas is empty")]
    [InlineData(",", "a value between its commas is empty")]
    [InlineData("2,4,", "a value between its commas is empty")]
    [InlineData("2 4", "--depths is 2 4, expected")]
    [InlineData("2;4", "--depths is 2;4, expected")]
    public void List_IsChecked(string text, string message) => Refused("compare-gradients", "depths", text, message);

    [Fact]
    public void LongList_IsOneShortLine()
    {
        var ones = string.Join(',', Enumerable.Repeat("1", 30_000));
        Refused("compare-gradients", "depths", ones, "--depths lists 30000 values, expected at most 256");
        Refused("bench", "planes", ones, "--planes lists 30000 values");
        Refused("train", "epochs", new string('9', 100_000), "99…, expected a whole number");
        Refused("train", "reconstruction", new string('x', 100_000), "--reconstruction: reconstruction 'xxx");
    }

    /// <summary>What certainly does not fit is told before any of it is taken, in the parent of children too.</summary>
    [Theory]
    [InlineData(
        "--depth is 1048576 and --planes 65536: the network needs for its weights, gradients and momentum at least",
        "train", "--depth", "1048576", "--planes", "65536")]
    [InlineData("--size is auto:99999 and --planes 65536", "train", "--network", "ode", "--size", "auto:99999", "--planes", "65536")]
    [InlineData("--sizes is auto:99999 and --planes 65536", "tied", "--network", "ode", "--sizes", "auto:99999", "--planes", "65536")]
    [InlineData("--size is 101 and --planes 65536", "adjoint-failure", "--planes", "65536")]
    [InlineData(
        "--size is auto:99999 and --planes 65536: the network needs for its weights at least",
        "finetune", "--size", "auto:99999", "--planes", "65536")]
    [InlineData("--depths is 1048576 and --planes 256", "depth-sweep", "--depths", "1,1048576", "--planes", "256")]
    [InlineData("--depths is 1048576 and --planes 256", "compare-gradients", "--depths", "4,1048576", "--planes", "256")]
    [InlineData(
        "--stretch-from is 1048576 and --planes 4096",
        "compare-gradients", "--depths", "4", "--stretch-from", "1048576", "--planes", "4096")]
    [InlineData("--depths is 1048576 and --planes 256", "gradient-errors", "--depths", "4,1048576", "--planes", "256")]
    [InlineData("--depths is 1048576 and --planes 256", "memory", "--depths", "4,1048576", "--planes", "256")]
    [InlineData("--depths is 1048576 and --planes 4096", "memory", "--network", "ode", "--depths", "1048576", "--planes", "4096")]
    [InlineData(
        "--depths is 1048576: the states that backprop stores need at least 976.6 GiB",
        "memory", "--network", "linear", "--depths", "1048576")]
    [InlineData(
        "--batch is 10000 and --depths 100000: the states that backprop stores need at least",
        "memory", "--planes", "1", "--batch", "10000", "--depths", "4,100000", "--reconstructions", "backprop")]
    [InlineData(
        "--depths is 1048576 and --planes 256, 11 methods",
        "bench", "--network", "tiny", "--depths", "1,1048576", "--planes", "256")]
    [InlineData(
        "--depths is 1048576 and --planes 4096, 11 methods",
        "bench", "--network", "bottleneck", "--depths", "1048576", "--planes", "4096")]
    [InlineData(
        "--planes is 65536, --batch 128 and --max-depth 32768: one state and the weights need at least",
        "discretization", "--planes", "65536")]
    [InlineData("--depth is 1048576 and --dimension 16384", "linear-weights", "--depth", "1048576", "--dimension", "16384")]
    public void WhatCannotFit_IsToldBeforeItIsTaken(string message, string verb, params string[] words)
    {
        string[] data = Help.Options(verb).ContainsKey("dataset") ? ["--dataset", "synthetic"] : [];
        Fails(2, message, [verb, .. words, .. data]);
    }

    /// <summary>What a process may take counts, not what the machine has: a limit of .NET's here, as a container's is.</summary>
    [Fact]
    public void LimitOfTheProcess_IsWhatCounts()
    {
        Assert.True(Available("0x8000000") < Available(null));

        double Available(string? limit)
        {
            var start = Executable.Start(
                "train", "--planes", "65536", "--depth", "1000", "--dataset", "synthetic", "--out", Path.Combine(folder, "out"));
            start.Environment["DOTNET_GCHeapHardLimit"] = limit;
            using var process = Process.Start(start)!;
            var error = process.StandardError.ReadToEnd();
            process.WaitForExit();
            Assert.Equal(2, process.ExitCode);
            return double.Parse(Regex.Match(error, "this machine has ([0-9,.]+) GiB").Groups[1].Value, CultureInfo.InvariantCulture);
        }
    }

    /// <summary>A batch is no larger than its data: what is asked for in numbers and not needed is no reason to refuse.</summary>
    [Fact]
    public void BatchBeyondTheData_IsNotRefused()
    {
        var (code, _, error) = Executable.Run(
            "train", "--preset", "smoke", "--depth", "2", "--limit", "20", "--batch", "1000000", "--reconstruction", "backprop",
            "--out", Path.Combine(folder, "out"));
        Assert.True(code == 0, error);
    }

    /// <summary>Options that only a child, or a later part of the run, would find wrong.</summary>
    [Theory]
    [InlineData(2, "depth is 1, expected at least 2 with the solver heun", "depth-sweep", "--depths", "4,1")]
    [InlineData(2, "depth is 1, expected at least 2 with the solver heun", "train", "--depth", "1", "--solver", "heun")]
    [InlineData(2, "depth is 1, expected at least 2 with the solver heun", "tied", "--sizes", "auto:3,auto:2", "--solver", "heun")]
    [InlineData(2, "depth is 1, expected at least 2 with the solver heun", "memory", "--depths", "4,1", "--solver", "heun")]
    [InlineData(
        2,
        "depth is 1, expected at least 2 with the solver heun", "memory", "--network", "linear", "--depths", "4,1", "--solver", "heun")]
    [InlineData(2, "--precision bfloat16 needs native layers", "depth-sweep", "--precision", "bfloat16", "--execution", "callback")]
    [InlineData(2, "--dataset imagenet needs --data", "bench", "--preset", "smoke", "--epoch", "imagenet")]
    [InlineData(2, "--dataset imagenet needs --data", "reproduce", "--preset", "paper")]
    [InlineData(1, "/nowhere", "depth-sweep", "--dataset", "fashion-mnist", "--data", "/nowhere")]
    [InlineData(1, "/nowhere.bin", "finetune", "--preset", "smoke", "--checkpoint", "/nowhere.bin")]
    [InlineData(1, "/nowhere.bin", "compare-gradients", "--preset", "smoke", "--checkpoint", "/nowhere.bin")]
    [InlineData(1, "/nowhere.bin", "evaluate", "--checkpoint", "/nowhere.bin")]
    [InlineData(1, "/nowhere.bin", "train", "--preset", "smoke", "--init", "/nowhere.bin")]
    public void WhatIsFoundLater_IsFoundFirst(int exit, string message, string verb, params string[] words)
    {
        var known = Help.Options(verb).ContainsKey("dataset") && !words.Contains("--preset") && !words.Contains("--dataset");
        Fails(exit, message, [verb, .. words, .. known ? new[] { "--dataset", "synthetic" } : []]);
    }

    private void Refused(string verb, string option, string value, string message)
    {
        var line = Fails(2, message, [verb, $"--{option}={value}"]);
        Assert.Contains($"--{option}", line);
    }

    private string Fails(int exit, string message, string[] words)
    {
        var place = Path.Combine(folder, "out");
        // Verbs that leave no folder have no --out.
        string[] target = Help.Options(words[0]).ContainsKey("out") ? ["--out", place] : [];
        var (code, output, error) = Executable.Run([.. words, .. target]);
        Assert.True(code == exit, string.Create(CultureInfo.InvariantCulture, $"{words[0]}: exit code {code}: {error}"));
        Assert.Empty(output);
        var line = Assert.Single(error.TrimEnd('\n').Split('\n'));
        Assert.Contains(message, line);
        Assert.InRange(line.Length, 1, 500);
        Assert.False(Path.Exists(place));
        return line;
    }
}
