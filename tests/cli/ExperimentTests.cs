using System.Diagnostics;
using System.Text.Json;
using System.Xml.Linq;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Every verb that has a preset smoke, through the real executable; the overview names them.</summary>
public sealed class ExperimentTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("experiments").FullName;

    public static TheoryData<string> Verbs() => [.. SmokeRuns.Verbs];

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Verb_LeavesRowsTablesFiguresAndFindings(string verb)
    {
        var run = SmokeRuns.Of(verb);
        Assert.True(run.Code == 0, run.Error);
        Assert.NotEmpty(run.Rows);
        Assert.DoesNotContain('\u001b', run.Error);
        var keys = run.Rows.SelectMany(row => row.EnumerateObject().Select(p => p.Name)).Distinct();
        Assert.All(keys, key => Assert.Contains(key, Help.Of(verb)));
        using var summary = JsonDocument.Parse(File.ReadAllText(Path.Combine(run.Folder, "summary.json")));
        Assert.Equal(verb, summary.RootElement.GetProperty("verb").GetString());
        Assert.NotEmpty(summary.RootElement.GetProperty("paper").GetString()!);
        var tables = summary.RootElement.GetProperty("tables").EnumerateArray().Select(t => t.GetString()!).ToList();
        Assert.NotEmpty(tables);
        Assert.All(tables, table => Assert.True(File.ReadAllLines(Path.Combine(run.Folder, table)).Length > 1, table));
        var figures = summary.RootElement.GetProperty("figures").EnumerateArray().Select(f => f.GetProperty("name").GetString()!).ToList();
        Assert.NotEmpty(figures);
        Assert.All(figures, figure =>
        {
            Assert.Equal("svg", XDocument.Load(Path.Combine(run.Folder, figure)).Root!.Name.LocalName);
            Assert.True(new FileInfo(Path.ChangeExtension(Path.Combine(run.Folder, figure), ".png")).Length > 1000);
        });
        Assert.All(
            summary.RootElement.GetProperty("findings").EnumerateArray(),
            finding => Assert.NotEmpty(finding.GetProperty("measured").GetString()!));
    }

    [Theory]
    [MemberData(nameof(Verbs))]
    public void Verb_ResumesToTheSame_AndRefusesAFolderInUse(string verb)
    {
        var run = SmokeRuns.Of(verb);
        var before = Results(run.Folder);
        Assert.Equal(1, Run(verb, "--preset", "smoke", "--out", run.Folder).Code);
        var again = SmokeRuns.Start(verb, run.Folder, "--resume");
        Assert.True(again.Code == 0, again.Error);
        Assert.Equal(before, Results(run.Folder));
        Assert.DoesNotContain("had no effect on this run", run.Error);
    }

    [Fact]
    public void Resume_WithOtherOptions_IsRefused()
    {
        string[] words = ["linear-weights", "--preset", "smoke", "--out", At("a")];
        Assert.Equal(0, Run(words).Code);
        var (code, _, error) = Run([.. words, "--resume", "--depth", "30"]);
        Assert.Equal(2, code);
        Assert.Contains("--depth is 30, but the run", error);
    }

    [Fact]
    public void Preset_YieldsToTheCommandLine()
    {
        Assert.Equal(0, Run("linear-weights", "--preset", "smoke", "--depth", "30", "--lr", "30", "--out", At("a")).Code);
        using var config = JsonDocument.Parse(File.ReadAllText(Path.Combine(At("a"), "config.json")));
        var options = config.RootElement.GetProperty("options");
        Assert.Equal(("30", "200"), (options.GetProperty("depth").GetString(), options.GetProperty("steps").GetString()));
        var (code, _, error) = Run("linear-weights", "--preset", "smal");
        Assert.Equal(2, code);
        Assert.Contains("did you mean small?", error);
    }

    /// <summary>Killed in the middle and started again: the same findings as at one go.</summary>
    [Fact]
    public void Reproduce_KilledAndResumed_GivesTheSameReport()
    {
        string[] words = ["reproduce", "--preset", "smoke", "--only", "linear-weights,discretization,compare-gradients,tied,depth-sweep"];
        var (code, _, error) = Run([.. words, "--out", At("whole")]);
        Assert.True(code == 0, error);

        using (var process = Process.Start(Executable.Start([.. words, "--out", At("cut")]))!)
        {
            // Killed as soon as the sweep's first run has left something.
            var sweep = Path.Combine(At("cut"), "depth-sweep");
            var clock = Stopwatch.StartNew();
            bool HasBegun() => Directory.Exists(sweep) && Directory.EnumerateDirectories(sweep).Any();
            while (!process.HasExited && !HasBegun() && clock.Elapsed < TimeSpan.FromMinutes(3))
            {
                process.WaitForExit(20);
            }

            process.Kill(entireProcessTree: true);
            process.WaitForExit();
        }

        Assert.False(File.Exists(Path.Combine(At("cut"), "report", "report.html")));
        var (again, _, complaint) = Run([.. words, "--out", At("cut"), "--resume"]);
        Assert.True(again == 0, complaint);
        string Report(string run, string file) => File.ReadAllText(Path.Combine(At(run), "report", file));
        Assert.Equal(Report("whole", "findings.csv"), Report("cut", "findings.csv"));
        var page = Report("cut", "report.html");
        // Nothing from elsewhere: no script, no style sheet, no picture but those in the page itself.
        Assert.DoesNotContain("<script", page);
        Assert.DoesNotContain("<link", page);
        Assert.DoesNotContain("<svg", page);
        Assert.Contains("src=\"data:image/svg+xml;base64,", page);
        Assert.DoesNotContain("src=", page.Replace("src=\"data:image/svg+xml;base64,", string.Empty, StringComparison.Ordinal));
    }

    [Fact]
    public void Report_WithoutRuns_SaysWhatToDo()
    {
        var (code, _, error) = Run("report", "--in", folder, "--out", At("r"));
        Assert.Equal(1, code);
        Assert.Contains("holds no finished run", error);
        Assert.False(Directory.Exists(At("r")));
    }

    [Fact]
    public void DepthSweep_RedoesABrokenRun()
    {
        string[] words = ["depth-sweep", "--preset", "smoke", "--depths", "2", "--solvers", "euler", "--out", At("s")];
        Assert.Equal(0, Run(words).Code);
        var before = Results(At("s"));
        var broken = Path.Combine(At("s"), "euler-backprop-2-1");
        File.Delete(Path.Combine(broken, "summary.json"));
        File.Delete(Path.Combine(broken, "checkpoint.bin"));
        File.Delete(Path.Combine(At("s"), "points", "euler-backprop-2-1.json"));
        Assert.Equal(0, Run([.. words, "--resume"]).Code);
        Assert.Equal(before, Results(At("s")));
    }

    [Fact]
    public void Finetune_TakesACheckpointOfTied()
    {
        const string size = "custom-basic:2+2+4+2";
        string[] small = ["--dataset", "synthetic", "--limit", "60", "--planes", "2", "--batch", "30", "--epochs", "1"];
        Assert.Equal(0, Run(["tied", "--sizes", size, "--reconstructions", "adaptive", .. small, "--out", At("t")]).Code);
        var checkpoint = Path.Combine(At("t"), $"{size}-adaptive-1".Replace(':', '_'), "checkpoint.bin");
        string[] words = ["finetune", "--size", size, .. small, "--last-norm-decay", "1e-2", "--checkpoint", checkpoint];
        var (code, rows, error) = Run([.. words, "--out", At("f"), "--json"]);
        Assert.True(code == 0, error);
        double Accuracy(string network) => rows.First(row => row.TryGetProperty("network", out var n) && n.GetString() == network)
            .GetProperty("test_accuracy").GetDouble();
        Assert.Equal(Accuracy("tied"), Accuracy("untied"));
    }

    /// <summary>A network of one step has one output, which is exact: both ways to invert it are the same.</summary>
    [Theory]
    [InlineData("euler", 1)]
    [InlineData("midpoint", 1)]
    [InlineData("heun", 2)]
    public void CompareGradients_OfOneStep_DoesNotDependOnExactOutputs(string solver, int depth)
    {
        string[] words = ["--preset", "smoke", "--depths", $"{depth}", "--solvers", solver, "--reconstructions", "inverse"];
        var (code, rows, error) = Run(["compare-gradients", .. words, "--zero-init", "false", "--out", At("g"), "--json"]);
        Assert.True(code == 0, error);
        double[] Errors(string method) =>
        [
            .. rows.Where(row => row.TryGetProperty("reconstruction", out var name) && name.GetString() == method)
                .Select(row => row.GetProperty("relative_error").GetDouble()),
        ];
        var (own, exact) = (Errors("inverse"), Errors("inverse (exact outputs)"));
        Assert.True(own.Length > 1 && own[0] > 1e-3);
        Assert.Equal(own.Length, exact.Length);
        Assert.All(own.Zip(exact), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * Math.Max(1, pair.First)));
    }

    [Fact]
    public void Discretization_ReadsNpy()
    {
        var file = Path.Combine(folder, "images.npy");
        File.WriteAllText(file, "no array");
        var (code, _, error) = Run("discretization", "--npy", file, "--out", At("d"));
        Assert.Equal(1, code);
        Assert.Contains("is not a .npy file", error);
        using (var writer = new BinaryWriter(File.Create(file)))
        {
            var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 8, 8), }".PadRight(117) + "\n";
            writer.Write([0x93, .. "NUMPY"u8, 1, 0]);
            writer.Write((ushort)header.Length);
            writer.Write(System.Text.Encoding.ASCII.GetBytes(header));
            var random = new Random(1);
            for (var i = 0; i < 2 * 3 * 8 * 8; i++)
            {
                writer.Write((float)random.NextDouble());
            }
        }

        Assert.Equal(0, Run("discretization", "--npy", file, "--planes", "4", "--max-depth", "16", "--out", At("d")).Code);
    }

    // Tables without their times and memory: what a run computes.
    private static string Results(string path)
    {
        string[] volatileColumns =
        [
            "seconds", "waited_share", "peak_bytes", "step_bytes", "bytes_per_layer", "standard_error", "peak_bytes_per_layer",
            "peak_standard_error",
        ];
        return string.Join('\n', Directory.GetFiles(path, "*.csv").Order(StringComparer.Ordinal).Select(file =>
        {
            var lines = File.ReadAllLines(file).Select(line => line.Split(',')).ToList();
            var kept = lines[0].Index().Where(column => !volatileColumns.Contains(column.Item)).Select(column => column.Index).ToList();
            return string.Join('\n', lines.Select(line => string.Join(',', kept.Where(i => i < line.Length).Select(i => line[i]))));
        }));
    }

    private static (int Code, List<JsonElement> Rows, string Error) Run(params string[] arguments) => Executable.RunRows(arguments);

    private string At(string name) => Path.Combine(folder, name);
}
