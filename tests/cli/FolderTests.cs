using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Folders of runs: what is removed, what is refused, what a damaged file does. The truth is what stands in the folder.</summary>
public sealed class FolderTests : IDisposable
{
    private static readonly string[] Short =
        ["--dataset", "synthetic", "--limit", "60", "--depth", "2", "--planes", "2", "--batch", "30", "--schedule", "constant", "--quiet"];

    private readonly string folder = Directory.CreateTempSubdirectory("folders").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>A configuration of someone else's is no sign of a run, and neither is one that says what ours says.</summary>
    [Theory]
    [InlineData("{}")]
    [InlineData("""{ "verb": "train", "options": { "depth": "2" }, "version": "0.1.0" }""")]
    public void Overwrite_LeavesAForeignFolderAlone(string config)
    {
        Write("mine/config.json", config);
        Write("mine/weights.bin", "weights");
        Write("mine/.git/HEAD", "ref: refs/heads/main");
        // A list of the same name, and one that was ended before its first word, are none of ours beside other files.
        Write("mine/files.txt", config.Length > 2 ? "weights.bin\n" : string.Empty);
        var before = Tree("mine");
        AssertFails(1, "is not the folder of a run", ["train", .. Short, "--out", At("mine"), "--overwrite"]);
        AssertFails(1, "is not the folder of a run", ["train", .. Short, "--out", At("mine"), "--resume"]);
        AssertFails(1, "is not empty", ["train", .. Short, "--out", At("mine")]);
        Assert.Equal(before, Tree("mine"));
    }

    /// <summary>In a run's own folder too: files, folders and links that no run wrote stop it before anything is removed.</summary>
    [Theory]
    [InlineData("notes.txt")]
    [InlineData(".git/HEAD")]
    [InlineData("tensorboard/notes.txt")]
    [InlineData("checkpoint.bin.old")]
    public void Overwrite_RefusesWhatNoRunWrote(string name)
    {
        Assert.Equal(0, Run(Epochs(1)).Code);
        Write(Path.Combine("run", name), "mine");
        var before = Tree("run");
        AssertFails(1, name.Split('/')[0], ["train", .. Short, "--out", At("run"), "--overwrite"]);
        Assert.Equal(before, Tree("run"));
        File.Delete(At(Path.Combine("run", name)));
        if (name.StartsWith(".git", StringComparison.Ordinal))
        {
            Directory.Delete(At("run/.git"));
        }

        Assert.Equal(0, Run([.. Epochs(1), "--overwrite"]).Code);
    }

    /// <summary>Ended between the making of the folder and its first line: the next start is the first.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("Files of")]
    public void Resume_TakesUpABeginning(string begun)
    {
        Write("run/files.txt", begun);
        Assert.Equal(0, Run([.. Epochs(1), "--resume"]).Code);
        Assert.Equal(0, Run([.. Epochs(1), "--overwrite"]).Code);
    }

    [Fact]
    public void Overwrite_FollowsNoLink()
    {
        Write("elsewhere/thesis.txt", "mine");
        Assert.Equal(0, Run(Epochs(1)).Code);
        Directory.Delete(At("run/tensorboard"), recursive: true);
        Directory.CreateSymbolicLink(At("run/tensorboard"), At("elsewhere"));
        AssertFails(1, "tensorboard", ["train", .. Short, "--out", At("run"), "--overwrite"]);
        Assert.Equal("mine", File.ReadAllText(At("elsewhere/thesis.txt")));
    }

    /// <summary>A run of several folders goes whole, and what a crash left of a file with it.</summary>
    [Fact]
    public void Overwrite_EmptiesRunsInsideOfRuns()
    {
        string[] words = ["depth-sweep", "--preset", "smoke", "--depths", "2", "--solvers", "euler", "--quiet", "--out", At("s")];
        Assert.Equal(0, Run(words).Code);
        Write("s/euler-backprop-2-1/checkpoint.bin.partial", "half");
        Assert.Equal(0, Run([.. words, "--reconstructions", "backprop", "--overwrite"]).Code);
        Assert.Equal([At("s/euler-backprop-2-1"), At("s/points")], Directory.GetDirectories(At("s")).Order(StringComparer.Ordinal));
        Assert.False(File.Exists(At("s/euler-backprop-2-1/checkpoint.bin.partial")));
        Write("s/euler-backprop-2-1/notes.txt", "mine");
        AssertFails(1, "notes.txt", [.. words, "--overwrite"]);
        Assert.True(File.Exists(At("s/summary.json")));
    }

    [Fact]
    public void PlantedLinks_AreNotWrittenThrough()
    {
        Assert.Equal(0, Run(Epochs(1)).Code);
        Write("mine.txt", "mine");
        File.CreateSymbolicLink(At("run/checkpoint.bin.partial"), At("mine.txt"));
        Assert.Equal(0, Run([.. Epochs(2), "--resume"]).Code);
        Assert.Equal("mine", File.ReadAllText(At("mine.txt")));
    }

    /// <summary>Of several processes at one run, one goes on; a killed one leaves no lock.</summary>
    [Fact]
    public void OneRun_IsOneProcess()
    {
        Assert.Equal(0, Run(Epochs(1)).Code);
        using (var running = new Running(Executable.Start([.. Epochs(100_000), "--resume"])))
        {
            while (File.ReadLines(At("run/metrics.csv")).Count() < 3)
            {
                Assert.False(running.Process.WaitForExit(20));
            }

            AssertFails(1, "another process is at this run", [.. Epochs(100_000), "--resume"]);
            AssertFails(1, "another process is at this run", [.. Epochs(1), "--overwrite"]);
            running.Process.Kill();
        }

        Assert.Equal(0, Run([.. Epochs(1), "--overwrite"]).Code);
    }

    /// <summary>Every file that results are read back from: a flipped bit, a cut end or another's content is told by name.</summary>
    [Theory]
    [InlineData("linear-weights", "points")]
    [InlineData("memory", "points")]
    [InlineData("compare-gradients", "points")]
    [InlineData("bench", "points", "machine.json")]
    [InlineData("train", "config.json", "checkpoint.bin")]
    [InlineData("depth-sweep", "points")]
    public void Resume_TellsOfADamagedFile(string verb, params string[] names)
    {
        var run = At("run");
        string[] shorter = verb == "depth-sweep" ? ["--depths", "2", "--solvers", "euler", "--reconstructions", "backprop"] : [];
        Assert.Equal(0, SmokeRuns.Start(verb, run, shorter).Code);
        foreach (var name in names)
        {
            var path = name == "points"
                ? Directory.GetFiles(Path.Combine(run, name)).Order(StringComparer.Ordinal).First()
                : Path.Combine(run, name);
            var whole = File.ReadAllBytes(path);
            var random = new Random(1);
            foreach (var damage in Damages(whole, random).Prepend([]))
            {
                File.WriteAllBytes(path, damage);
                var again = SmokeRuns.Start(verb, run, [.. shorter, "--resume"]);
                Assert.Equal(1, again.Code);
                var said = again.Error.Trim().Split('\n').Single(line => line.StartsWith("resnet-nodes: ", StringComparison.Ordinal));
                Assert.Contains(path, said);
            }

            File.WriteAllBytes(path, whole);
        }

        var good = SmokeRuns.Start(verb, run, [.. shorter, "--resume"]);
        Assert.True(good.Code == 0, good.Error);
    }

    /// <summary>Points of other options are not taken, even where config.json, which would tell, is gone.</summary>
    [Fact]
    public void Resume_WithoutItsConfiguration_TakesNoPointsOfOtherOptions()
    {
        Assert.Equal(0, SmokeRuns.Start("compare-gradients", At("run")).Code);
        File.Delete(At("run/config.json"));
        AssertFails(
            1, "was made with other options",
            ["compare-gradients", "--preset", "smoke", "--seed", "7", "--quiet", "--resume", "--out", At("run")]);
    }

    /// <summary>Wrong words, early or late, of this process or of one that it starts, leave nothing.</summary>
    [Theory]
    [InlineData("depth-sweep", "--preset", "smoke", "--lr", "0")]
    [InlineData("depth-sweep", "--preset", "smoke", "--momentum", "2")]
    [InlineData("depth-sweep", "--preset", "smoke", "--schedule", "sometimes")]
    [InlineData("depth-sweep", "--preset", "smoke", "--batch", "0")]
    [InlineData("memory", "--preset", "smoke", "--batch", "none")]
    [InlineData("bench", "--preset", "smoke", "--train-steps", "-1")]
    [InlineData("finetune", "--preset", "smoke", "--train-stage", "9")]
    [InlineData("train", "--preset", "smoke", "--execution", "fast")]
    public void WrongOptions_LeaveNothing(params string[] words)
    {
        var (code, _, error) = Run([.. words, "--quiet", "--out", At("a/b/run")]);
        Assert.True(code == 2, error);
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));
    }

    /// <summary>A failure that comes only once there is a folder: ours goes, one that was there before stays, and is empty.</summary>
    [Fact]
    public void FailureBeforeAnyResult_LeavesNothing()
    {
        Directory.CreateDirectory(At("mine"));
        Write("images/train/a/1.png", "no image");
        Write("images/val/a/1.png", "no image");
        foreach (var run in (string[])["a/b/run", "mine"])
        {
            AssertFails(
                1, "1.png",
                ["train", "--dataset", "image-folder", "--data", At("images"), "--image-size", "32", "--quiet", "--out", At(run)]);
        }

        Assert.Equal([At("images"), At("mine")], Directory.EnumerateFileSystemEntries(folder).Order(StringComparer.Ordinal));
        Assert.Empty(Directory.EnumerateFileSystemEntries(At("mine")));
    }

    [Theory]
    [InlineData("a\nb", "the control character U+000A")]
    [InlineData("a\u001bb", "the control character U+001B")]
    public void ControlCharacters_AreRefused(string name, string message)
    {
        AssertFails(2, message, ["train", .. Short, "--out", At(name)]);
        AssertFails(2, message, ["train", .. Short, "--data", At(name), "--out", At("run")]);
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder));
    }

    private static (int Code, List<JsonElement> Rows, string Error) Run(params string[] words) => Executable.RunRows(words);

    // A byte changed, one more, some less, and a digit that stays a digit: the change that no parser sees.
    private static IEnumerable<byte[]> Damages(byte[] whole, Random random)
    {
        var changed = whole.ToArray();
        changed[random.Next(whole.Length)] ^= 4;
        yield return changed;
        yield return [.. whole, (byte)'\n'];
        yield return whole[..random.Next(whole.Length)];
        var digit = Array.FindIndex(whole, whole.Length / 3, b => b is > (byte)'0' and < (byte)'9');
        if (digit >= 0)
        {
            var other = whole.ToArray();
            other[digit]++;
            yield return other;
        }
    }

    private string[] Epochs(int epochs) => ["train", .. Short, "--epochs", $"{epochs}", "--out", At("run")];

    private void AssertFails(int code, string message, string[] words)
    {
        var (got, _, error) = Run(words);
        Assert.Equal(code, got);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
    }

    private void Write(string name, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(name))!);
        File.WriteAllText(At(name), text);
    }

    // Every file with its content.
    private List<string> Tree(string name) =>
    [
        .. Directory.EnumerateFiles(At(name), "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 })
            .Order(StringComparer.Ordinal).Select(path => path + Convert.ToHexString(File.ReadAllBytes(path))),
    ];

    private string At(string name) => Path.Combine(folder, name);
}
