using System.Globalization;
using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>--memory: what is planned, told and refused; and memory --budget-sweep, time against memory.</summary>
public sealed class MemoryBudgetTests : IDisposable
{
    // One batch an epoch, so that there is one plan.
    private static readonly string[] Short =
        ["--dataset", "synthetic", "--limit", "32", "--batch", "32", "--depth", "6", "--planes", "4", "--epochs", "1"];

    private readonly string folder = Directory.CreateTempSubdirectory("budgets").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("41943040", 41943040)]
    [InlineData("41943040B", 41943040)]
    [InlineData("40MiB", 41943040)]
    [InlineData("40mib", 41943040)]
    [InlineData(".5GiB", 536870912)]
    [InlineData("40 MB", 40000000)]
    [InlineData("40000.5kB", 40000500)]
    [InlineData("1TiB", 1099511627776)]
    public void Size_IsBytesWithOrWithoutAUnit(string text, long bytes) =>
        Assert.Equal(bytes, Plan(Train("a", text)).GetProperty("budget").GetInt64());

    /// <summary>The plan is told, and stands in config.json; all stored it evaluates each function three times, as backprop does.</summary>
    [Fact]
    public void Plan_IsShownAndWritten()
    {
        var run = Train("a", "2GiB");
        var plan = Plan(run);
        var total = run.Rows.Single(row => row.TryGetProperty("budget_bytes", out _));
        var parts = run.Rows.Where(row => row.TryGetProperty("part", out _)).ToList();
        Assert.Equal(
            Written(plan, "budget", "bytes", "least", "most"),
            Written(total, "budget_bytes", "planned_bytes", "least_bytes", "most_bytes"));
        Assert.Equal(Long(plan, "most"), Long(plan, "bytes"));
        Assert.InRange(Long(plan, "least"), 1, Long(plan, "most") - 1);
        Assert.Equal(["stem", "stage", "head"], parts.Select(part => part.GetProperty("part").GetString()));
        string[] names = ["method", "kept_bytes", "working_bytes", "evaluations"];
        Assert.Equal(
            plan.GetProperty("parts").EnumerateArray().Select(part => Written(part, names)),
            parts.Select(part => Written(part, names)));
        Assert.Equal(("backprop", 3 * 6), (parts[1].GetProperty("method").GetString(), parts[1].GetProperty("evaluations").GetInt32()));
        Assert.Contains(" of 2048 MiB; least ", run.Error.Split('\n').Single(line => line.StartsWith("plan: ", StringComparison.Ordinal)));

        var table = Executable.Run(["train", .. Short, "--memory", "2GiB", "--out", At("t")]).Out;
        Assert.Matches(@"^ *network +part +method +kept_bytes +working_bytes +evaluations\n *tiny +stem ", table);
    }

    /// <summary>A run begins at the least that its plan names, and at no byte below it.</summary>
    [Fact]
    public void Least_IsKeptAndOneByteLessIsRefused()
    {
        var least = Long(Plan(Train("a", "2GiB")), "least");
        var plan = Plan(Train("b", $"{least}"));
        Assert.Equal((least, least), (Long(plan, "least"), Long(plan, "bytes")));
        Assert.Contains($"the least is {Mebibytes(least)} MiB", Refused(["train", .. Short, "--memory", $"{least - 1}"]));
    }

    [Theory]
    [InlineData(
        "--memory: a memory budget of 0.1 MiB is too small for an input of 32×3×32×32: the least is ",
        "train", "--memory", "100kB")]
    [InlineData("--reconstruction is backprop, but with --memory", "train", "--memory", "1GiB", "--reconstruction", "backprop")]
    [InlineData("--reconstruction is checkpoint:3, but with --memory", "train", "--memory", "1GiB", "--reconstruction", "checkpoint:3")]
    [InlineData("--adjoint-from is 11, but with --memory", "train", "--memory", "1GiB", "--network", "ode", "--adjoint-from", "11")]
    [InlineData("--memory needs native layers; leave out --execution callback", "train", "--memory", "1GiB", "--execution", "callback")]
    [InlineData("--memory: a memory budget of 0.1 MiB is too small", "tied", "--preset", "smoke", "--memory", "100kB")]
    [InlineData("--reconstructions is backprop, but with --memory", "tied", "--memory", "1GiB", "--reconstructions", "adaptive, backprop")]
    [InlineData("--memory: a memory budget of 0.1 MiB is too small", "finetune", "--preset", "smoke", "--memory", "100kB")]
    [InlineData("--budget-sweep is of one network; --depths is 16,64,256", "memory", "--budget-sweep", "3")]
    [InlineData(
        "--budget-sweep is of one network, tiny or one of stages; --network is linear",
        "memory", "--budget-sweep", "3", "--network", "linear")]
    [InlineData("--network is ode,tied", "memory", "--budget-sweep", "3", "--network", "ode,tied", "--depths", "3")]
    [InlineData("--size is 18, but --network tiny has a depth", "memory", "--budget-sweep", "3", "--size", "18")]
    [InlineData("--depths is 3, but --size", "memory", "--budget-sweep", "3", "--network", "ode", "--size", "18", "--depths", "3")]
    [InlineData("--size: size '19' is unknown", "memory", "--budget-sweep", "3", "--network", "ode", "--size", "19")]
    [InlineData("--size is 18, but the networks of stages are [3, 4, N, 3]", "memory", "--network", "ode", "--size", "18")]
    public void WhatCanNotBePlanned_IsRefusedFirst(string message, string verb, params string[] words) =>
        Assert.Contains(message, Refused([verb, .. verb == "train" ? Without(Short, words) : [], .. words]));

    /// <summary>Where a method is only one to compare, the plan takes its place.</summary>
    [Fact]
    public void Tied_WithoutMethods_TrainsWithinTheBudgetAlone()
    {
        var run = SmokeRuns.Start("tied", At("t"), "--memory", "1GiB");
        Assert.True(run.Code == 0, run.Error);
        Assert.Equal(
            ["adaptive"],
            run.Rows.Where(row => row.TryGetProperty("epoch", out _)).Select(row => row.GetProperty("reconstruction").GetString()));
        Assert.Equal("auto:2, adaptive", Plan(run).GetProperty("network").GetString());
    }

    [Fact]
    public void Finetune_PlansBothNetworks()
    {
        var run = SmokeRuns.Start("finetune", At("f"), "--memory", "1GiB");
        Assert.True(run.Code == 0, run.Error);
        Assert.Equal(["tied", "untied"], Plans(run).Select(plan => plan.GetProperty("network").GetString()));
        var memory = run.Rows.Where(row => row.TryGetProperty("step_bytes", out _)).Select(
            row => row.GetProperty("reconstruction").GetString());
        Assert.Equal(["adaptive within 1GiB", "backprop"], memory);
    }

    [Fact]
    public void Resume_TakesTheSameBudgetOnly()
    {
        var least = Long(Plan(Train("b", "1GiB")), "least");
        string[] words = ["train", .. Short, "--memory", $"{least}", "--out", At("a")];
        Assert.Equal(0, Executable.Run(words).Code);
        var (code, _, error) = Executable.Run([.. words, "--resume"]);
        Assert.True(code == 0, error);
        Assert.Contains("resumed after epoch 1", error);
        // The last batch of an epoch is smaller, and has a plan of its own.
        string[] longer =
            ["train", "--dataset", "synthetic", "--limit", "70", "--batch", "32", "--depth", "12", "--memory", "8MiB", "--out", At("c")];
        Assert.Equal(0, Executable.Run([.. longer, "--epochs", "1"]).Code);
        (code, _, error) = Executable.Run([.. longer, "--epochs", "2", "--resume"]);
        Assert.True(code == 0, error);
        Assert.Contains("resumed after epoch 1", error);
        (code, _, error) = Executable.Run([.. words.Select(word => word == $"{least}" ? "2GiB" : word), "--resume"]);
        Assert.Equal(2, code);
        Assert.Contains($"--memory is 2GiB, but the run in {At("a")} was started with {least}", error);
    }

    /// <summary>
    /// Budgets in equal ratios, between the bounds that train names of the same network; every point is measured and drawn.
    /// </summary>
    [Theory]
    [InlineData("tiny", "--depths", "6")]
    [InlineData("ode", "--size", "custom-basic:2+2+4+2")]
    public void Sweep_GoesFromTheLeastToTheMost(string network, string option, string value)
    {
        string[] size = ["--network", network, "--planes", "4", "--batch", "32"];
        var (code, rows, error) = Executable.RunRows(["memory", .. size, option, value, "--budget-sweep", "3", "--out", At("s"), "--json"]);
        Assert.True(code == 0, error);
        Assert.Equal(
            ["backprop", "checkpoint", "adaptive", "plan", "plan", "plan"],
            rows.Select(row => row.GetProperty("method").GetString()));
        Assert.All(rows, row => Assert.True(Long(row, "step_bytes") > 0 && row.GetProperty("step_seconds").GetDouble() > 0));

        string[] same = ["--dataset", "synthetic", "--limit", "32", "--epochs", "1", option == "--depths" ? "--depth" : option, value];
        Assert.Equal(0, Executable.Run(["train", .. size, .. same, "--memory", "1GiB", "--out", At("t")]).Code);
        var plan = Plan(new(At("t"), 0, [], string.Empty));
        var (least, most) = (Long(plan, "least"), Long(plan, "most"));
        var planned = rows.Skip(3).ToList();
        Assert.Equal([least, (long)Math.Ceiling(Math.Sqrt((double)least * most)), most], planned.Select(row => Long(row, "budget_bytes")));
        Assert.All(planned, row => Assert.InRange(Long(row, "planned_bytes"), 1, Long(row, "budget_bytes")));
        Assert.All(planned, row => Assert.Equal(
            ((double)Long(row, "step_bytes") / Long(row, "budget_bytes")) - 1, row.GetProperty("over").GetDouble(), 12));

        using var summary = JsonDocument.Parse(File.ReadAllText(Path.Combine(At("s"), "summary.json")));
        List<JsonElement> Of(string list) => [.. summary.RootElement.GetProperty(list).EnumerateArray()];
        Assert.Equal($"memory-budget-{network}.svg", Assert.Single(Of("figures")).GetProperty("name").GetString());
        Assert.Equal("memory-budget.csv", Assert.Single(Of("tables")).GetString());
        Assert.Equal(2, summary.RootElement.GetProperty("findings").GetArrayLength());
        Assert.Equal(7, File.ReadAllLines(Path.Combine(At("s"), "memory-budget.csv")).Length);

        // Points that are there are not measured again.
        var before = File.ReadAllText(Path.Combine(At("s"), "memory-budget.csv"));
        Assert.Equal(0, Executable.Run(["memory", .. size, option, value, "--budget-sweep", "3", "--out", At("s"), "--resume"]).Code);
        Assert.Equal(before, File.ReadAllText(Path.Combine(At("s"), "memory-budget.csv")));
    }

    private FinishedRun Train(string name, string memory)
    {
        var (code, rows, error) = Executable.RunRows(["train", .. Short, "--memory", memory, "--out", At(name), "--json"]);
        Assert.True(code == 0, error);
        return new(At(name), code, rows, error);
    }

    private string Refused(string[] words)
    {
        var (code, output, error) = Executable.Run([.. words, "--out", At("none")]);
        Assert.Equal((2, string.Empty), (code, output));
        Assert.False(Path.Exists(At("none")));
        return Assert.Single(error.TrimEnd('\n').Split('\n'));
    }

    // A network of stages has no depth.
    private static string[] Without(string[] usual, string[] words) => words.Contains("--network")
        ? [.. usual.Where((word, i) => word != "--depth" && (i == 0 || usual[i - 1] != "--depth"))]
        : usual;

    private static JsonElement Plan(FinishedRun run) => Assert.Single(Plans(run));

    private static List<JsonElement> Plans(FinishedRun run)
    {
        using var config = JsonDocument.Parse(File.ReadAllText(Path.Combine(run.Folder, "config.json")));
        return [.. config.RootElement.GetProperty("memory_plan").EnumerateArray().Select(plan => plan.Clone())];
    }

    private static string Written(JsonElement row, params string[] keys) =>
        string.Join(' ', keys.Select(key => row.GetProperty(key).ToString()));

    private static long Long(JsonElement row, string key) => row.GetProperty(key).GetInt64();

    private static string Mebibytes(long bytes) =>
        (Math.Ceiling(bytes / 1048576.0 * 10) / 10).ToString("0.0", CultureInfo.InvariantCulture);

    private string At(string name) => Path.Combine(folder, name);
}
