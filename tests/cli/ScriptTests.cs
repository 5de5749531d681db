using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Scripts, as far as they go without what only some machines have.</summary>
public sealed class ScriptTests
{
    [Theory]
    [InlineData(1, "/nowhere/python: no such interpreter", "/nowhere/python")]
    [InlineData(1, "has no torch that can be loaded", "false")]
    [InlineData(2, "--depth is '0', expected a whole number from 1", "false", "--depth", "0")]
    [InlineData(2, "--depth is '', expected a whole number from 1", "false", "--depth")]
    [InlineData(2, "'--steeps' is not an option", "false", "--steeps", "2")]
    [InlineData(2, "--planes is '16,', expected a whole number from 1, or several with commas", "false", "--planes", "16,")]
    [InlineData(2, "--train-steps is '-1', expected a whole number from 0", "false", "--train-steps", "-1")]
    [InlineData(2, "--network is 'linear', expected tiny, bottleneck, resnet, ode or tied", "false", "--network", "linear")]
    [InlineData(2, "--precision is 'int8', expected float32", "false", "--precision", "int8")]
    [InlineData(2, "--network tiny has a --depth, and neither --size nor --image", "false", "--size", "34")]
    [InlineData(2, "--network ode has a --size, and no --depth", "false", "--network", "ode", "--depth", "16")]
    [InlineData(2, "--network bottleneck has no --classes", "false", "--network", "bottleneck", "--classes", "10")]
    [InlineData(2, "--page needs a value", "false", "--page")]
    [InlineData(2, "--pytorch has 'pytorch-backprop', expected some of", "false", "--pytorch", "pytorch-backprop")]
    [InlineData(2, "--pytorch lacks pytorch-channels-last", "false", "--pytorch", "pytorch-eager,pytorch-compile")]
    public void CompareReference_WrongUsage_IsOneLine(int code, string message, params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo(
            Path.Combine(Executable.Root, "scripts", "compare-reference.sh"), words)
        { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(code, process.ExitCode);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
    }

    [Theory]
    [InlineData("--seconds is '0', expected a whole number from 1", "--seconds", "0")]
    [InlineData("--seed is '', expected a whole number from 1", "--seed")]
    [InlineData("--only is 'fire', expected kinds of kill", "--only", "kill,fire")]
    [InlineData("'--sed' is not an option", "--sed", "1")]
    public void Faults_WrongUsage_IsOneLine(string message, params string[] words)
    {
        var (code, output, error) = Faults(words);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
    }

    /// <summary>A trial of each kind and more, as far as the time goes; a longer run with other seeds is the script's own.</summary>
    [Fact]
    public void Faults_FindNothing()
    {
        var (code, output, error) = Faults("--seconds", "30", "--seed", "16");
        Assert.True(code == 0, error);
        Assert.Equal(
            14,
            output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Count(line => line.EndsWith(" 0", StringComparison.Ordinal) || line.StartsWith("kind", StringComparison.Ordinal)));
        Assert.Contains(" 0 failures (seed 16)", output);
    }

    /// <summary>TorchSharp's CUDA packages hold their libraries in fragments, the first of which has the whole one's name.</summary>
    [Fact]
    public void TheEngine_IsLinkedWithAWholeLibTorch()
    {
        var whole = File.ReadAllBytes("/bin/true");
        var packages = Directory.CreateTempSubdirectory("packages").FullName;
        try
        {
            var fragment = Package("libtorch-cuda-12.8-linux-x64-part9-primary/2.10.0", whole[..(whole.Length / 2)]);
            Assert.Empty(Chosen());
            var joined = Package("libtorch-cuda-12.8-linux-x64-part9-primary/2.9.0", whole);
            Assert.Equal(joined, Chosen());
            var older = Package("libtorch-cpu-linux-x64/2.9.0", whole);
            Assert.Equal(older, Chosen());
            var newer = Package("libtorch-cpu-linux-x64/2.10.0", whole);
            Assert.Equal(newer, Chosen());
            File.WriteAllBytes(Path.Combine(newer, "libtorch_cpu.so"), whole[..100]);
            Assert.Equal(older, Chosen());
            Directory.Delete(older, recursive: true);
            Assert.Equal(joined, Chosen());
            Assert.True(File.Exists(Path.Combine(fragment, "libtorch_cpu.so")));
        }
        finally
        {
            Directory.Delete(packages, recursive: true);
        }

        string Chosen()
        {
            using var process = Process.Start(new ProcessStartInfo(
                "bash", ["-c", "source \"$1/scripts/libtorch.sh\"; restored_libtorch \"$2\"", "bash", Executable.Root, packages])
            { RedirectStandardOutput = true })!;
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
            return output.Trim();
        }

        string Package(string name, byte[] library)
        {
            var folder = Path.Combine(packages, name, "runtimes", "linux-x64", "native");
            Directory.CreateDirectory(folder);
            File.WriteAllBytes(Path.Combine(folder, "libtorch_cpu.so"), library);
            return folder;
        }
    }

    /// <summary>With CUDA's packages the CPU's LibTorch is downloaded too, in the version that TorchSharp's asks for.</summary>
    [Fact]
    public void TheLibTorchToLinkWith_IsTorchSharps()
    {
        var targets = File.ReadAllText(Path.Combine(Executable.Root, "Directory.Build.targets"));
        var version = Regex.Match(targets, """PackageDownload Include="libtorch-cpu-linux-x64" Version="\[(.+)\]" """).Groups[1].Value;
        using var locked = JsonDocument.Parse(File.ReadAllText(Path.Combine(Executable.Root, "experiments", "packages.lock.json")));
        var package = locked.RootElement.GetProperty("dependencies").EnumerateObject()
            .Select(framework => framework.Value).First(packages => packages.TryGetProperty("libtorch-cpu-linux-x64", out _))
            .GetProperty("libtorch-cpu-linux-x64");
        Assert.Equal(package.GetProperty("resolved").GetString(), version);
    }

    [Theory]
    [InlineData("usage: scripts/gpu-check.sh PYTHON")]
    [InlineData("has no PyTorch that can be used here", "/nowhere/python")]
    [InlineData("has no PyTorch that can be used here", "false")]
    public void GpuCheck_WithoutWhatItNeeds_SaysSo(string message, params string[] words)
    {
        var (code, _, error) = Run("gpu-check.sh", words);
        Assert.Equal(1, code);
        Assert.Contains(message, error);
    }

    [Theory]
    [InlineData("--trials is '0', expected a whole number from 1", "--trials", "0")]
    [InlineData("--seed is '', expected a whole number from 1", "--seed")]
    [InlineData("'--sed' is not an option", "--sed", "1")]
    [InlineData("the undisturbed training failed", "--trials", "1", "--", "--epochs", "0")]
    public void Kills_WrongUsage_IsOneLine(string message, params string[] words)
    {
        var (code, output, error) = Run("kills.sh", words);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, error.Trim().Split('\n')[^1]);
    }

    [Fact]
    public void Kills_FindNothing()
    {
        var (code, output, error) = Run(
            "kills.sh", "--trials", "1", "--", "--dataset", "synthetic", "--limit", "200", "--batch", "5", "--depth", "2", "--planes", "4",
            "--epochs", "1", "--threads", "1");
        Assert.True(code == 0, output + error);
        Assert.Contains("1 of 1 trainings are bit-equal to the undisturbed one (seed 1)", output);
    }

    [Theory]
    [InlineData("--rate is '1', expected a whole number with kbit, mbit or gbit, as 1gbit", "--rate", "1")]
    [InlineData("--delay is '', expected a whole number with us or ms, as 5ms", "--delay")]
    [InlineData("--slots is '0', expected a whole number from 1", "--slots", "0")]
    [InlineData("'--dely' is not an option", "--dely", "5ms")]
    [InlineData("what is to be run? it comes after --", "--rate", "1gbit")]
    public void TwoHosts_WrongUsage_IsOneLine(string message, params string[] words)
    {
        var (code, output, error) = Run("two-hosts.sh", words);
        Assert.Equal(2, code);
        Assert.Empty(output);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
    }

    private static (int Code, string Out, string Error) Faults(params string[] words) => Run("faults.sh", words);

    private static (int Code, string Out, string Error) Run(string script, params string[] words)
    {
        var start = new ProcessStartInfo(Path.Combine(Executable.Root, "scripts", script), words)
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
