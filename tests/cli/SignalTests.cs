using System.Diagnostics;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Signals and the processes of one run: the truth is what the system says of them.</summary>
public sealed class SignalTests : IDisposable
{
    // Long enough to be interrupted anywhere; each verb that trains, measures or starts processes.
    private static readonly Dictionary<string, string[]> Long = new()
    {
        ["train"] = ["--dataset", "synthetic", "--depth", "4", "--planes", "4", "--epochs", "100000"],
        ["depth-sweep"] = ["--dataset", "synthetic", "--depths", "4", "--planes", "4", "--epochs", "100000", "--jobs", "2"],
        ["finetune"] = ["--preset", "smoke", "--pretrain-epochs", "100000"],
        ["memory"] = ["--network", "tiny", "--depths", "2,3,4,2000", "--planes", "32"],
        ["bench"] = ["--preset", "smoke", "--repetitions", "1000", "--depths", "1,2,3,4,5,6,7,8"],
        ["reproduce"] = ["--preset", "smoke"],
    };

    private readonly string folder = Directory.CreateTempSubdirectory("signals").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>
    /// The exit code is the signal's, one line says how it goes on, that very line goes on with the run, and no process is left.
    /// </summary>
    [Theory]
    [InlineData("train", "TERM", 143)]
    [InlineData("train", "HUP", 129)]
    [InlineData("train", "INT", 130)]
    [InlineData("depth-sweep", "TERM", 143)]
    [InlineData("finetune", "INT", 130)]
    [InlineData("memory", "TERM", 143)]
    [InlineData("bench", "HUP", 129)]
    [InlineData("reproduce", "TERM", 143)]
    public async Task Signal_EndsTheRunInOrder(string verb, string signal, int code)
    {
        var run = Path.Combine(folder, "a run");
        using var running = new Running(Started(verb, run));
        var process = running.Process;
        var error = process.StandardError.ReadToEndAsync();
        WaitForResults(process, verb, run);
        Send(signal, process.Id);
        process.WaitForExit();
        Assert.Equal(code, process.ExitCode);
        Assert.Empty(ProcessesAt(run));
        var said = (await error).Trim().Split('\n')[^1];
        Assert.Contains("interrupted", said);
        Assert.EndsWith($"--resume '--out={run}'", said);

        // As it stands, through a shell; until it says that it took the run up.
        var command = said.Split("continue with: resnet-nodes ")[1];
        using (var again = new Running(Executable.Shell($"exec $X {command}")))
        {
            Assert.False(again.Process.WaitForExit(2000) && again.Process.ExitCode != 0);
        }

        // This one was killed: its children take a moment.
        WaitForEnd(() => ProcessesAt(run).Count > 0);
        Assert.Empty(ProcessesAt(run));
    }

    /// <summary>However it ends: nothing can be done after SIGKILL.</summary>
    [Theory]
    [InlineData("depth-sweep")]
    [InlineData("memory")]
    public void Children_EndWithTheirParent(string verb)
    {
        var run = Path.Combine(folder, "run");
        using var running = new Running(Started(verb, run));
        var process = running.Process;
        var clock = Stopwatch.StartNew();
        while (ProcessesOf(process.Id) is [] && clock.Elapsed < TimeSpan.FromMinutes(1))
        {
            Thread.Sleep(5);
        }

        var children = ProcessesOf(process.Id);
        Assert.NotEmpty(children);
        process.Kill();
        process.WaitForExit();
        WaitForEnd(() => children.Any(IsAlive));
        Assert.DoesNotContain(children, IsAlive);
    }

    [Fact]
    public void SecondSignal_EndsAtOnce()
    {
        string[] command = ["discretization", "--dataset", "synthetic", "--max-depth", "32768", "--planes", "64", "--out", $"{folder}/run"];
        using var running = new Running(Executable.StartWithSignals(command));
        var process = running.Process;
        while (!File.Exists(Path.Combine(folder, "run", "config.json")))
        {
            Assert.False(process.WaitForExit(20));
        }

        Thread.Sleep(1000); // in the midst of a step that takes minutes
        Send("INT", process.Id);
        Thread.Sleep(200);
        Send("INT", process.Id);
        Assert.True(process.WaitForExit(5000));
        Assert.Equal(130, process.ExitCode);
    }

    private static ProcessStartInfo Started(string verb, string run) => Executable.StartWithSignals([verb, .. Long[verb], "--out", run]);

    // Something that --resume keeps.
    private static void WaitForResults(Process process, string verb, string run)
    {
        string[] kept = verb is "memory" or "bench" or "reproduce" ? ["points"] : ["checkpoint.bin"];
        var clock = Stopwatch.StartNew();
        while (!Directory.Exists(run)
            || !Directory.EnumerateFileSystemEntries(run, "*", SearchOption.AllDirectories)
                .Any(path => kept.Contains(Path.GetFileName(path))))
        {
            Assert.False(process.WaitForExit(20), "ended by itself");
            Assert.True(clock.Elapsed < TimeSpan.FromMinutes(2));
        }
    }

    private static void WaitForEnd(Func<bool> lives)
    {
        var clock = Stopwatch.StartNew();
        while (lives() && clock.Elapsed < TimeSpan.FromSeconds(10))
        {
            Thread.Sleep(5);
        }
    }

    private static void Send(string signal, int process) => Process.Start("kill", [$"-{signal}", $"{process}"]).WaitForExit();

    private static bool IsAlive(int process) => File.Exists($"/proc/{process}/stat") && StateOf(process) is not ('Z' or 'X');

    private static char StateOf(int process)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{process}/stat");
            return stat[stat.LastIndexOf(')') + 2];
        }
        catch (IOException)
        {
            return 'X';
        }
    }

    // Of this program, by a word of their command line.
    private static List<int> ProcessesAt(string path) =>
        [.. Ids().Where(id => Words(id).Any(word => word.Contains(path, StringComparison.Ordinal))).Where(IsAlive)];

    // Those of this program; the script that starts it has children too.
    private static List<int> ProcessesOf(int parent) => [.. Ids().Where(id =>
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{id}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1] == $"{parent}"
                && stat.Contains("(resnet-nodes)", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    })];

    private static IEnumerable<int> Ids() => Directory.EnumerateDirectories("/proc")
        .Select(path => int.TryParse(Path.GetFileName(path), out var id) ? id : 0).Where(id => id > 0);

    private static string[] Words(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/cmdline").Split('\0');
        }
        catch (IOException)
        {
            return [];
        }
    }
}
