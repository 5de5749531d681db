using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>scripts/compare-reference.sh with a command in the place of PyTorch, which says what PyTorch would.</summary>
public sealed class CompareReferenceTests : IDisposable
{
    // As PyTorch 2.14 counts TinyResNet of depth 4, 4 planes, batch 8.
    private const long Parameters = 1726;
    private const double ForwardGflop = 0.00232576;

    private readonly string folder = Directory.CreateTempSubdirectory("reference").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>
    /// Both sides take turns; ratios are to the better layout of the same precision; a compiler that is not there is told.
    /// </summary>
    [Fact]
    public void Rounds_GiveRatiosOnThePage()
    {
        var page = At("speed.md");
        var (code, output, error) = Compare(Stub(Parameters), "--page", page);
        Assert.True(code == 0, error);
        Assert.Equal(
            ["round 1 of 2: pytorch", "round 1 of 2: ours", "round 2 of 2: ours", "round 2 of 2: pytorch"],
            error.Split('\n')
                .Where(line => line.Contains(": round ", StringComparison.Ordinal))
                .Select(line => line[line.IndexOf("round", StringComparison.Ordinal)..]));
        Assert.Equal(
            [
                "--network tiny --batch 8 --train-steps 1 --precision float32,bfloat16 --threads 1 --classes 10 "
                + "--planes 4 --depth 4 --steps 2",
            ],
            File.ReadLines(At("words")).Select(line => line[..line.IndexOf(" --methods", StringComparison.Ordinal)]).Distinct());

        var text = File.ReadAllText(page);
        Assert.StartsWith("# Benchmarks\n\nWritten by `resnet-nodes bench --page`", text);
        Assert.Contains("#### TinyResNet, 4 planes, depth 4, batch 8, after 1 training steps", text);
        Assert.Contains("1,726 parameters", text);
        Assert.Contains("2 rounds of 2 steps, 1 threads, PyTorch 2.99", text);
        // Rounds of 2 and 4 s against 1 and 3: medians 3 and 2, rounds' ratios 2 and 4/3.
        Assert.Contains("| `pytorch-eager` | 1.50 (1.33–2.00) |", text);
        Assert.Contains("| `pytorch-channels-last` | 1.00 (1.00–1.00) |", text);
        Assert.Contains("| `pytorch-compile` | does not run: no compiler \\| here |", text);
        var ours = Rows(page).Single(row => row["method"] == "adaptive" && row["precision"] == "float32");
        Assert.Equal(Number(ours, "step_seconds") / 2, Number(ours, "ratio_to_pytorch"), 1e-12);
        // bfloat16: rounds of 0.5 s.
        ours = Rows(page).Single(row => row["method"] == "adaptive" && row["precision"] == "bfloat16");
        Assert.Equal(Number(ours, "step_seconds") / 0.5, Number(ours, "ratio_to_pytorch"), 1e-12);
        var stock = Rows(page).Single(row => row["method"] == "torchsharp-backprop");
        Assert.Equal(1, Number(stock, "ratio_to_backprop"));
        Assert.Contains("adaptive", output);

        // The same setting again takes the place of the first; what bench writes keeps it.
        Assert.Equal(0, Compare(Stub(Parameters), "--page", page).Code);
        Assert.Single(Directory.GetDirectories(At("speed")));
        Assert.Equal(2, File.ReadAllText(page).Split("#### TinyResNet").Length);
        var section = File.ReadAllText(page).Split("<!--")[1];
        var (written, _, complaint) = Executable.Run(
            "bench", "--network", "tiny", "--planes", "2", "--depths", "2", "--batch", "4", "--methods", "adaptive", "--no-memory",
            "--repetitions", "1", "--out", At("run"), "--page", page);
        Assert.True(written == 0, complaint);
        Assert.Equal(section, File.ReadAllText(page).Split("<!--")[1]);
        Assert.Contains("## TinyResNet, 2 planes, batch 4", File.ReadAllText(page));
    }

    [Fact]
    public void AnotherNetwork_IsRefused()
    {
        var (code, _, error) = Compare(Stub(Parameters + 1));
        Assert.Equal(1, code);
        Assert.Contains("not the same network: ", error);
    }

    /// <summary>Goals are those of the setting, against PyTorch's best of the precision.</summary>
    [Theory]
    [InlineData("bottleneck", "\"planes\": 256, \"depth\": 32, \"batch\": 16, \"train_steps\": 0", "float32", "backprop", 0.55)]
    [InlineData("tiny", "\"planes\": 64, \"depth\": 64, \"classes\": 10, \"batch\": 128, \"train_steps\": 0", "float32", "adaptive", 0.6)]
    [InlineData(
        "ode", "\"planes\": 64, \"size\": \"101\", \"classes\": 1000, \"image\": 32, \"batch\": 128, \"train_steps\": 20",
        "float32", "adaptive", 1.0)]
    [InlineData(
        "ode", "\"planes\": 64, \"size\": \"34\", \"classes\": 1000, \"image\": 128, \"batch\": 8, \"train_steps\": 20",
        "bfloat16", "adaptive", 1.6)]
    public void Goals_AreAgainstTheBetterLayout(string network, string setting, string precision, string method, double most)
    {
        string Row(string name, double seconds) => string.Create(CultureInfo.InvariantCulture,
            $"{{\"network\": \"{network}\", {setting}, \"precision\": \"{precision}\", \"method\": \"{name}\", "
            + $"\"version\": \"2.99\", \"parameters\": 1, \"forward_gflop\": 1, \"step_seconds\": {seconds}}}\n");
        foreach (var (ratio, verdict) in new[] { (most - 0.01, "reached"), (most + 0.01, "missed") })
        {
            File.WriteAllText(
                At("pytorch-1.json"), Row("pytorch-eager", 4) + Row("pytorch-channels-last", 3) + Row("pytorch-checkpoint", 1));
            File.WriteAllText(At("ours-1.json"), Row(method, 3 * ratio));
            var (code, _, error) = Executable.Run("bench-reference", "--rounds", folder);
            Assert.True(code == 0, error);
            Assert.Contains(string.Create(CultureInfo.InvariantCulture, $"takes at most {most:0.00#} of PyTorch's best"), error);
            Assert.Contains($"): {verdict}: {ratio.ToString("0.00", CultureInfo.InvariantCulture)} (", error);
        }
    }

    private static double Number(Dictionary<string, string> row, string key) => double.Parse(row[key], CultureInfo.InvariantCulture);

    private static List<Dictionary<string, string>> Rows(string page)
    {
        var data = Path.ChangeExtension(page, null);
        var lines = File.ReadAllLines(Path.Combine(Assert.Single(Directory.GetDirectories(data)), "reference.csv"));
        return [.. lines.Skip(1)
            .Select(line => lines[0].Split(',').Zip(line.Split(',')).ToDictionary(pair => pair.First, pair => pair.Second))];
    }

    private string At(string name) => Path.Combine(folder, name);

    /// <summary>A command that answers as scripts/reference_bench.py does; what it is asked stands in the file words.</summary>
    private string Stub(long parameters)
    {
        string Row(string method, string precision, string found) =>
            "{\"network\": \"tiny\", \"planes\": 4, \"depth\": 4, \"size\": null, \"classes\": 10, \"image\": null, \"batch\": 8, "
            + $"\"precision\": \"{precision}\", \"method\": \"{method}\", \"train_steps\": 1, \"version\": \"2.99\", {found}}}";
        string Time(string method, string precision, string seconds) => Row(method, precision, string.Create(
            CultureInfo.InvariantCulture, $"\"parameters\": {parameters}, \"forward_gflop\": {ForwardGflop}, \"step_seconds\": {seconds}"));
        var path = At("python");
        File.WriteAllText(path, $$"""
            #!/usr/bin/env bash
            [[ "$2" != --version ]] || { echo 2.99; exit; }
            echo "${*:2}" >>'{{At("words")}}'
            round=$(($(wc -l <'{{At("words")}}') % 2 ? 1 : 3))
            cat <<END
            {{Time("pytorch-eager", "float32", "$((round + 1))")}}
            {{Time("pytorch-channels-last", "float32", "$round")}}
            {{Row("pytorch-compile", "float32", "\"failure\": \"no compiler | here\"")}}
            {{Time("pytorch-eager", "bfloat16", "0.5")}}
            END
            """);
        Process.Start("chmod", ["+x", path]).WaitForExit();
        return path;
    }

    private (int Code, string Out, string Error) Compare(string python, params string[] words)
    {
        var start = new ProcessStartInfo(
            Path.Combine(Executable.Root, "scripts", "compare-reference.sh"),
            [python, "--network", "tiny", "--planes", "4", "--depth", "4", "--batch", "8", "--rounds", "2", "--steps", "2",
                "--train-steps", "1", "--threads", "1", "--methods", "torchsharp-backprop,adaptive", .. words])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }
}
