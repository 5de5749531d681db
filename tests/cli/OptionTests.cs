using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>
/// Every option of every verb, set to a value that is not its default, stands in config.json and is read by the run, or is refused
/// by its name. Verbs and options come from the help, so that a new one is found here without an edit: it needs a value below.
/// </summary>
public sealed class OptionTests : IDisposable
{
    // Where a run goes and how it is shown.
    private static readonly string[] Presentation =
        ["preset", "out", "json", "overwrite", "resume", "config", "quiet", "verbose", "no-color", "page"];

    // Values other than the default that go together in one short run.
    private static readonly Dictionary<string, string> Values = Pairs("""
        accumulate=2 adjoint-from=2 at=0,1 batch=20 classes=5 clip=0.5 depths=2 dimension=3 drop-last=true ema=0.9 epochs=1
        execution=layers freeze-norms=true gradients=true jobs=2 label-smoothing=0.1 last-norm-decay=1e-2 limit=40 lr=0.05
        lr-from=1e-4 lr-to=1
        max-depth=4 methods=corrected:2,backprop mixup=0.2 momentum=0.8 network=tied no-memory=true patience=3 planes=2
        precision=bfloat16 pretrain-epochs=1 pretrain-lr=0.05
        reconstruction=corrected:2 reconstructions=corrected:2 repetitions=1 save-minutes=1 save-steps=2 scale-rate=true
        schedule=constant seed=3 seeds=4 size=custom-basic:3+3+3+3 sizes=auto:3 solver=heun solvers=heun stage-rate-factor=2 steps=2
        stretch-from=3
        threads=1 tolerance=1e-3 train-stage=all train-steps=1 validation=0.25 weight-decay=1e-4 workers=1 zero-init=true
        """);

    // Refused alone, by the name of the option or with its value, since it does not go with the preset or names what is not there.
    private static readonly Dictionary<string, string> Refused = Pairs("""
        budget-sweep=3 checkpoint=/nowhere/checkpoint.bin cifar10=/nowhere/cifar cuda-graphs=true data=/nowhere/data device=cuda:99
        download=true epoch=mnist image=64 image-size=64 imagenet=/nowhere in=/nowhere/runs init=/nowhere/network.bin memory=1
        new-head=true npy=/nowhere/images.npy only=nothing optimizer=adam skip-corrupt=true
        sync-batch-norm=true
        """);

    private readonly string folder = Directory.CreateTempSubdirectory("options").FullName;

    public static TheoryData<string> Verbs() => [.. SmokeRuns.Verbs];

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [MemberData(nameof(Verbs))]
    public void EveryOption_IsReadAndWritten_OrRefused(string verb)
    {
        var defaults = Help.Options(verb);
        var smoke = SmokeRuns.Of(verb);
        Assert.True(smoke.Code == 0, smoke.Error);
        Assert.Equal(defaults.Keys.Order(), smoke.Options.Keys.Order());

        // Options that the preset sets are covered by its run; the others get a value each, all of them in one run.
        var open = defaults.Keys.Except(Presentation).Where(o => smoke.Options[o] == defaults[o] || smoke.Unread.Contains(o)).ToList();
        var alone = open.Where(option => IsRefused(verb, option)).ToList();
        var together = open.Except(alone).ToDictionary(option => option, option => ValueOf(verb, option));
        var shorter = Shorter(verb).Where(pair => !together.ContainsKey(pair.Name)).ToList();
        var other = SmokeRuns.Start(
            verb, Path.Combine(folder, "run"),
            [.. together.Select(pair => $"--{pair.Key}={pair.Value}"), .. shorter.Select(pair => $"--{pair.Name}={pair.Value}")]);
        Assert.True(other.Code == 0, other.Error);
        Assert.All(together, pair => Assert.Equal(pair.Value, other.Options[pair.Key]));
        Assert.Empty(other.Unread.Intersect(together.Keys));
        Assert.DoesNotContain("had no effect on this run", other.Error);

        foreach (var option in alone)
        {
            AssertRefused(verb, option, Refused.GetValueOrDefault(option) ?? ValueOf(verb, option), "--preset", "smoke");
        }
    }

    /// <summary>Verbs that collect what others have done.</summary>
    [Theory]
    [InlineData("report", "in")]
    [InlineData("reproduce", "only", "device", "imagenet")]
    public void OptionsOfCollections_AreRefusedByName(string verb, params string[] options) =>
        Assert.All(options, option => AssertRefused(verb, option, Refused[option], verb == "report" ? [] : ["--preset", "smoke"]));

    /// <summary>What reproduce is given, its experiments get; one without an effect is told.</summary>
    [Fact]
    public void Reproduce_HandsItsOptionsDown()
    {
        var run = SmokeRuns.Start("reproduce", Path.Combine(folder, "r"), "--only", "discretization", "--seed", "3", "--threads", "1");
        Assert.True(run.Code == 0, run.Error);
        var inner = run with { Folder = Path.Combine(run.Folder, "discretization") };
        Assert.Equal(("3", "1", "synthetic"), (inner.Options["seed"], inner.Options["threads"], inner.Options["dataset"]));

        var missing = SmokeRuns.Start("reproduce", Path.Combine(folder, "c"), "--only", "discretization", "--cifar10", Refused["cifar10"]);
        Assert.Equal(1, missing.Code);
        Assert.Contains(Refused["cifar10"], missing.Error);
    }

    /// <summary>A verb does not take an option of another.</summary>
    [Theory]
    [InlineData("depth-sweep", "size")]
    [InlineData("depth-sweep", "adjoint-from")]
    [InlineData("depth-sweep", "seed")]
    [InlineData("compare-gradients", "size")]
    [InlineData("compare-gradients", "fallback")]
    [InlineData("tied", "size")]
    [InlineData("bench", "device")]
    [InlineData("report", "seed")]
    [InlineData("report", "preset")]
    public void OptionOfAnotherVerb_IsRefused(string verb, string option)
    {
        var (code, _, error) = Executable.Run(verb, $"--{option}=34");
        Assert.Equal(2, code);
        Assert.Contains($"{verb} has no option --{option}", Assert.Single(error.Trim().Split('\n')));
    }

    private static Dictionary<string, string> Pairs(string text) => text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)
        .Select(pair => pair.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]);

    // Not to be tried with the others: what is refused, and what the preset's network does not have.
    private static bool IsRefused(string verb, string option) => (verb, option) switch
    {
        ("compare-gradients" or "depth-sweep" or "finetune", "network") => true,
        ("bench", "network") => false,
        ("discretization", "drop-last") or ("memory" or "bench", "size") => true,
        _ => Refused.ContainsKey(option),
    };

    private static string ValueOf(string verb, string option) => (verb, option) switch
    {
        ("finetune", "network") => "ode",
        ("tied", "network") => "ode",
        ("memory", "network") => "tiny",
        _ => Values.GetValueOrDefault(option) ?? throw new InvalidOperationException($"--{option} of {verb} needs a value in OptionTests"),
    };

    // What keeps the second run short where the preset's own value is long.
    private static IEnumerable<(string Name, string Value)> Shorter(string verb) => verb switch
    {
        // Heun needs two functions in each stage.
        "tied" => [("sizes", "custom-basic:3+3+3+3")],
        "memory" => [("network", "tiny"), ("depths", "2,3")],
        "depth-sweep" => [("depths", "2")],
        "compare-gradients" => [("depths", "4"), ("train-steps", "1")],
        "bench" => [("depths", "2")],
        _ => [],
    };

    private void AssertRefused(string verb, string option, string value, params string[] words)
    {
        var (code, _, error) = Executable.Run([verb, .. words, $"--{option}={value}", "--out", Path.Combine(folder, option)]);
        Assert.NotEqual(0, code);
        var said = error.Trim().Split('\n')[^1];
        Assert.True(
            said.Contains($"--{option}", StringComparison.Ordinal) || said.Contains(value, StringComparison.Ordinal),
            $"{verb} --{option}={value}: {error}");
    }
}
