using System.Diagnostics;
using System.Text;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>
/// Trainings by mpirun over two hosts, which are namespaces of this machine (scripts/two-hosts.sh): all that passes between their ranks
/// goes through a network. The truth is the same training by as many ranks of one host.
/// </summary>
public sealed class TwoHostTests : IDisposable
{
    private static readonly string[] Training =
    [
        "train", "--dataset", "synthetic", "--limit", "64", "--batch", "16", "--depth", "2", "--planes", "8", "--epochs", "2",
        "--threads", "1", "--workers", "1", "--quiet",
    ];

    private readonly string folder = Directory.CreateTempSubdirectory("hosts").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [TwoHostsTheory]
    [InlineData]
    [InlineData("--rate", "1gbit", "--delay", "5ms")]
    public void Training_EqualsOneHosts(params string[] link)
    {
        var (one, two) = (Path.Combine(folder, "one"), Path.Combine(folder, "two"));
        var (code, _, refusal) = Mpirun.Run(2, [.. Training, "--out", one]);
        Assert.True(code == 0, refusal);
        var error = Finish(Start(TwoHosts.Script, [.. link, "--", Mpirun.Program, .. Training, "--out", two]));
        Assert.Equal(RunContents.Checkpoint(one), RunContents.Checkpoint(two));
        Assert.Equal(3, RunContents.Metrics(two).Count);
        Assert.Equal(RunContents.Metrics(one), RunContents.Metrics(two));
        // Each step's gradients, one way as much as the other.
        Assert.Matches(@"through the link: 0\.[0-9]*[1-9][0-9]* MB from alpha to beta, 0\.[0-9]*[1-9][0-9]* MB back", error);
        Assert.Empty(Left());
    }

    /// <summary>A rank of the other host that is killed ends all; the line that names it is mpirun's.</summary>
    [TwoHostsTheory]
    [InlineData]
    [InlineData("--rate", "1gbit", "--delay", "5ms")]
    public async Task ARankThatIsKilled_EndsBothHosts(params string[] link)
    {
        var run = Path.Combine(folder, "run");
        using var running = new Running(Start(TwoHosts.Script, [.. link, "--", Mpirun.Program, .. Endless(run)]));
        var error = running.Process.StandardError.ReadToEndAsync();
        WaitForCheckpoint(running.Process, run);
        foreach (var process in Left().Where(id => Environ(id).Contains("\0OMPI_COMM_WORLD_RANK=1\0", StringComparison.Ordinal)))
        {
            Signal(process);
        }

        EndsSoon(running.Process);
        var said = await error;
        Assert.Equal(137, running.Process.ExitCode);
        Assert.Matches("process rank 1 with PID [0-9]+ on node beta exited on signal 9", said);
        Assert.DoesNotContain("still run", said);
        Assert.Empty(Left());
    }

    /// <summary>A rank that fails on the other host, which lacks the data, says so by its number, and ends all.</summary>
    [TwoHostsFact]
    public void ARankThatFails_EndsBothHosts()
    {
        var data = Directory.CreateDirectory(Path.Combine(folder, "data")).FullName;
        Directory.EnumerateFiles("/usr/share/datasets/fashion-mnist").ToList()
            .ForEach(path => File.CreateSymbolicLink(Path.Combine(data, Path.GetFileName(path)), path));
        string[] words = [.. Training, "--out", Path.Combine(folder, "run"), "--data", data];
        words[2] = "fashion-mnist";
        using var running = new Running(Start(
            TwoHosts.Script,
            [
                "--", "bash", "-c", $"[[ $HOSTNAME == alpha ]] || mount -t tmpfs none '{data}'; exec \"$@\"", "bash", Mpirun.Program,
                .. words,
            ]));
        var error = running.Process.StandardError.ReadToEndAsync();
        EndsSoon(running.Process);
        Assert.Equal(1, running.Process.ExitCode);
        Assert.StartsWith($"resnet-nodes: rank 1: {data}", Assert.Single(Mpirun.Failures(error.Result)));
        Assert.DoesNotContain("still run", error.Result);
        Assert.Empty(Left());
    }

    /// <summary>However the script ends, hosts, link and ranks end with it; asked to, in order.</summary>
    [TwoHostsTheory]
    [InlineData("KILL")]
    [InlineData("TERM")]
    public async Task TheScript_TakesAllWithIt(string signal)
    {
        var run = Path.Combine(folder, "run");
        using var running = new Running(Start(TwoHosts.Script, ["--delay", "200us", "--", Mpirun.Program, .. Endless(run)]));
        var error = running.Process.StandardError.ReadToEndAsync();
        WaitForCheckpoint(running.Process, run);
        Signal(running.Process.Id, signal);
        EndsSoon(running.Process);
        var said = await error;
        Assert.Equal(signal == "TERM", said.Contains("resnet-nodes: interrupted in epoch", StringComparison.Ordinal));
        // The system takes a moment where nobody waits.
        var clock = Stopwatch.StartNew();
        while (Left().Count > 0 && clock.Elapsed < TimeSpan.FromSeconds(20))
        {
            Thread.Sleep(20);
        }

        Assert.Empty(Left());
    }

    private static string[] Endless(string run)
    {
        string[] words = [.. Training, "--save-steps", "1", "--out", run];
        words[Array.IndexOf(words, "--epochs") + 1] = "100000";
        return words;
    }

    // What it starts inherits the folder's name, by which it is found. A namespace lasts as long as a process in it.
    private ProcessStartInfo Start(string program, string[] words)
    {
        var start = Executable.StartWithSignals();
        start.ArgumentList.Clear();
        Array.ForEach(["--default-signal=HUP,INT", program, .. words], start.ArgumentList.Add);
        start.Environment["TWO_HOST_TESTS"] = folder;
        return start;
    }

    private static string Finish(ProcessStartInfo start)
    {
        using var running = new Running(start);
        var error = running.Process.StandardError.ReadToEndAsync();
        running.Process.StandardOutput.ReadToEnd();
        running.Process.WaitForExit();
        Assert.True(running.Process.ExitCode == 0, error.Result);
        return error.Result;
    }

    private static void WaitForCheckpoint(Process process, string run)
    {
        var clock = Stopwatch.StartNew();
        while (!File.Exists(Path.Combine(run, "checkpoint.bin")))
        {
            Assert.False(process.WaitForExit(10), "ended by itself");
            Assert.True(clock.Elapsed < TimeSpan.FromMinutes(2));
        }
    }

    // Some seconds, on a machine that does nothing else.
    private static void EndsSoon(Process process) => Assert.True(process.WaitForExit(TimeSpan.FromMinutes(1)));

    private static void Signal(int process, string signal = "KILL") => Process.Start("kill", [$"-{signal}", $"{process}"]).WaitForExit();

    private List<int> Left() =>
    [
        .. Directory.EnumerateDirectories("/proc").Select(path => int.TryParse(Path.GetFileName(path), out var id) ? id : 0)
            .Where(id => id > 0 && Environ(id).Contains($"\0TWO_HOST_TESTS={folder}\0", StringComparison.Ordinal)),
    ];

    // Empty of a process that has ended.
    private static string Environ(int process)
    {
        try
        {
            return "\0" + Encoding.UTF8.GetString(File.ReadAllBytes($"/proc/{process}/environ"));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}

/// <summary>Whether this machine can have two hosts; containers often can't. Tests are then skipped, with the reason.</summary>
internal static class TwoHosts
{
    public static readonly string Script = Path.Combine(Executable.Root, "scripts", "two-hosts.sh");

    private static readonly Lazy<string?> Missing = new(() =>
    {
        using var process = Process.Start(new ProcessStartInfo(Script, ["--possible"]) { RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? null : error.Trim();
    });

    public static string? WhyNot => Missing.Value;
}

[AttributeUsage(AttributeTargets.Method)]
internal sealed class TwoHostsFactAttribute : FactAttribute
{
    public TwoHostsFactAttribute() => Skip = TwoHosts.WhyNot;
}

[AttributeUsage(AttributeTargets.Method)]
internal sealed class TwoHostsTheoryAttribute : TheoryAttribute
{
    public TwoHostsTheoryAttribute() => Skip = TwoHosts.WhyNot;
}
