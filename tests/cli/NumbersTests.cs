using System.Diagnostics;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>README's numbers are those of the data in docs/, as scripts/write-numbers.sh writes them.</summary>
public sealed class NumbersTests : IDisposable
{
    private const string Script = "scripts/write-numbers.sh";

    private readonly string copy = Directory.CreateTempSubdirectory("numbers").FullName;

    public void Dispose() => Directory.Delete(copy, recursive: true);

    [Fact]
    public void Check_PagesAgreeWithTheData()
    {
        var (code, error) = Run(Executable.Root, "--check");
        Assert.True(code == 0, error);
    }

    [Theory]
    [InlineData("README.md", "the same after 330", "the same after 331")]
    [InlineData("README.md", "| `backprop` | ", "| `backprop` | 1")]
    [InlineData("README.md", "docs/measured/memory/memory-tiny.png", "docs/figures/memory-tiny.png")]
    [InlineData("README.md", " on 2 cores once built", " and more on 2 cores once built")]
    [InlineData("build.sh", "(", "(1", " on 2 cores once built")]
    [InlineData("docs/reproducing.md", "| statement | ", "| statements | ")]
    public void Check_NamesWhatWasChanged(string file, string text, string changed, string? onLineWith = null)
    {
        Copy();
        Change(file, text, changed, onLineWith);
        var (code, error) = Run(copy, "--check");
        Assert.Equal(1, code);
        Assert.StartsWith($"write-numbers.sh: {file}:", error.Trim().Split('\n')[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Check_RefusesDataThatWereEdited()
    {
        Copy();
        Change("docs/measured/memory/memory.csv", "tiny,backprop", "tiny,forwardprop", null);
        var (code, error) = Run(copy, "--check");
        Assert.Equal(1, code);
        Assert.Contains("memory/memory.csv", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_RestoresWhatWasChanged()
    {
        Copy();
        Change("README.md", "| `backprop` | ", "| `backprop` | 1", null);
        Assert.Equal((0, string.Empty), Run(copy));
        Assert.Equal(File.ReadAllText(Path.Combine(Executable.Root, "README.md")), File.ReadAllText(Path.Combine(copy, "README.md")));
    }

    /// <summary>
    /// A line a network and precision, of the table that scripts/compare-reference.sh leaves; the folder has no other data.
    /// </summary>
    [Fact]
    public void Write_ShowsWhatIsBesidePytorch()
    {
        Copy();
        var data = Directory.CreateDirectory(Path.Combine(copy, "docs", "benchmarks", "2030-01-01-machine")).FullName;
        File.WriteAllText(Path.Combine(data, "reference.csv"), """
            network,planes,depth,size,classes,image,batch,train_steps,method,precision,ratio_to_pytorch,ratio_least,ratio_most,failure
            ode,64,,101,1000,32,128,20,pytorch-compile,float32,,,,"no compiler, at all"
            ode,64,,101,1000,32,128,20,backprop,float32,0.751,0.7,0.804,
            ode,64,,101,1000,32,128,20,adaptive,float32,0.953,0.9,1,
            ode,64,,101,1000,32,128,20,adaptive,bfloat16,1.5,1.4,1.6,
            tiny,16,64,,10,,128,0,extrapolated,float32,0.5,0.4,0.6,

            """);
        File.WriteAllText(Path.Combine(data, "reference.json"), """
            {
              "machine": {
                "date": "2030-01-01",
                "processor": "Machine",
                "family": "25",
                "model": "17",
                "cores": 4,
                "kernel_path": "avx2",
                "commit": "0123456789ab"
            """);
        Assert.Equal((0, string.Empty), Run(copy));
        var text = File.ReadAllText(Path.Combine(copy, "README.md"));
        Assert.Contains("(latest: Machine, family 25, model 17, 4 cores, kernel path `avx2`, 2030-01-01, commit 0123456789ab;", text);
        Assert.Contains("| ODE ResNet-101, 32×32, batch 128, after 20 steps | 0.95 (0.90–1.00) | – | 0.75 (0.70–0.80) |", text);
        Assert.Contains("| ODE ResNet-101, 32×32, batch 128, after 20 steps, bfloat16 | 1.50 (1.40–1.60) | – | – |", text);
        Assert.Contains("| TinyResNet, 16 channels, depth 64, batch 128 | – | 0.50 (0.40–0.60) | – |", text);
        Assert.Equal((0, string.Empty), Run(copy, "--check"));
    }

    private static (int Code, string Error) Run(string root, params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo(Path.Combine(root, Script), words) { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error);
    }

    /// <summary>What the script reads: pages, data, help texts, and itself.</summary>
    private void Copy()
    {
        foreach (var part in new[] { "README.md", "build.sh", "docs", "experiments", "scripts" })
        {
            var path = Path.Combine(Executable.Root, part);
            foreach (var file in File.Exists(path) ? [path] : Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories))
            {
                var target = Path.Combine(copy, Path.GetRelativePath(Executable.Root, file));
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.Copy(file, target);
            }
        }
    }

    private void Change(string file, string text, string changed, string? onLineWith)
    {
        var path = Path.Combine(copy, file);
        var lines = File.ReadAllLines(path);
        var at = Array.FindIndex(
            lines,
            line => line.Contains(text, StringComparison.Ordinal) && line.Contains(onLineWith ?? text, StringComparison.Ordinal));
        Assert.True(at >= 0, $"{file} has no line with '{text}'");
        lines[at] = lines[at].Replace(text, changed, StringComparison.Ordinal);
        File.WriteAllLines(path, lines);
    }
}
