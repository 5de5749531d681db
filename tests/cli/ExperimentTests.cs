using System.Diagnostics;
using System.Text.Json;
using System.Xml.Linq;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Every experiment at the preset smoke, through the real executable.</summary>
public sealed class ExperimentTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("experiments").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("train", "accuracy", "epoch,test_accuracy")]
    [InlineData("linear-weights", "linear-weights", "step,smoothness")]
    [InlineData("linear-weights", "smoothness", "layer,weight")]
    [InlineData("tied", "tied", "size,reconstruction,test_accuracy")]
    [InlineData("adjoint-failure", "adjoint-failure", "method,loss,reconstruction_error,evaluations_per_layer,failed_at")]
    [InlineData("finetune", "finetune", "network,test_accuracy")]
    [InlineData("depth-sweep", "depth-sweep", "solver,reconstruction,depth,seed,test_error")]
    [InlineData("compare-gradients", "gradients", "depth,solver,reconstruction,relative_error,cosine")]
    [InlineData("memory", "memory-tiny", "network,reconstruction,peak_bytes,step_bytes,bytes_per_layer")]
    [InlineData("discretization", "discretization", "reconstruction,depth,relative_error,exponent")]
    public void Verb_GivesRowsFigureAndFindings_AndResumesToTheSame(string verb, string figure, string keys)
    {
        var (code, rows, error) = Run(verb, "--preset", "smoke", "--out", At("a"), "--json");
        Assert.True(code == 0, error);
        var help = Executable.Run("help", verb).Out;
        Assert.All(keys.Split(','), key => Assert.Contains(rows, row => row.TryGetProperty(key, out _)));
        Assert.All(rows.SelectMany(row => row.EnumerateObject().Select(p => p.Name)).Distinct(), key => Assert.Contains(key, help));
        Assert.True(new FileInfo(Path.Combine(At("a"), figure + ".png")).Length > 1000);
        Assert.Equal("svg", XDocument.Load(Path.Combine(At("a"), figure + ".svg")).Root!.Name.LocalName);
        Assert.NotEmpty(Directory.GetFiles(At("a"), "*.csv"));
        using var summary = JsonDocument.Parse(File.ReadAllText(Path.Combine(At("a"), "summary.json")));
        Assert.Equal(verb, summary.RootElement.GetProperty("verb").GetString());
        Assert.All(summary.RootElement.GetProperty("findings").EnumerateArray(), finding => Assert.False(string.IsNullOrEmpty(finding.GetProperty("measured").GetString())));

        var before = Results(At("a"));
        Assert.Equal(1, Run(verb, "--preset", "smoke", "--out", At("a")).Code);
        var (again, _, complaint) = Run(verb, "--preset", "smoke", "--out", At("a"), "--resume");
        Assert.True(again == 0, complaint);
        Assert.Equal(before, Results(At("a")));
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
        Assert.Equal(("30", "200"), (config.RootElement.GetProperty("options").GetProperty("depth").GetString(), config.RootElement.GetProperty("options").GetProperty("steps").GetString()));
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
            while (!process.HasExited && !(Directory.Exists(sweep) && Directory.EnumerateDirectories(sweep).Any()) && clock.Elapsed < TimeSpan.FromMinutes(3))
            {
                process.WaitForExit(20);
            }

            process.Kill(entireProcessTree: true);
            process.WaitForExit();
        }

        Assert.False(File.Exists(Path.Combine(At("cut"), "report", "report.html")));
        var (again, _, complaint) = Run([.. words, "--out", At("cut"), "--resume"]);
        Assert.True(again == 0, complaint);
        Assert.Equal(File.ReadAllText(Path.Combine(At("whole"), "report", "findings.csv")), File.ReadAllText(Path.Combine(At("cut"), "report", "findings.csv")));
        var page = File.ReadAllText(Path.Combine(At("cut"), "report", "report.html"));
        Assert.Contains("<svg role=\"img\" viewBox", page);
        // Nothing from elsewhere: no script, no picture file, no style sheet.
        Assert.DoesNotContain("<script", page);
        Assert.DoesNotContain("<img", page);
        Assert.DoesNotContain("<link", page);
        Assert.DoesNotContain("src=", page);
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
        Assert.Equal(0, Run([.. words, "--resume"]).Code);
        Assert.Equal(before, Results(At("s")));
    }

    [Fact]
    public void Finetune_TakesACheckpointOfTied()
    {
        string[] small = ["--dataset", "synthetic", "--limit", "60", "--planes", "2", "--batch", "30", "--epochs", "1"];
        Assert.Equal(0, Run(["tied", "--sizes", "custom-basic:2+2+4+2", "--reconstructions", "adaptive", .. small, "--out", At("t")]).Code);
        var (code, rows, error) = Run(["finetune", "--size", "custom-basic:2+2+4+2", .. small, "--last-norm-decay", "1e-2", "--checkpoint", Path.Combine(At("t"), "custom-basic_2+2+4+2-adaptive", "checkpoint.bin"), "--out", At("f"), "--json"]);
        Assert.True(code == 0, error);
        double Accuracy(string network) => rows.First(row => row.TryGetProperty("network", out var n) && n.GetString() == network).GetProperty("test_accuracy").GetDouble();
        Assert.Equal(Accuracy("tied"), Accuracy("untied"));
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
        string[] volatileColumns = ["seconds", "waited_share", "peak_bytes", "step_bytes", "bytes_per_layer", "peak_bytes_per_layer"];
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
