using Xunit;

namespace ResNetNodes.Cli.Tests;

public sealed class ReadmeTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("readme").FullName;

    public static TheoryData<string> Commands()
    {
        var data = new TheoryData<string>();
        foreach (var line in File.ReadLines(Path.Combine(Executable.Root, "README.md"))
            .Where(l => l.StartsWith("./resnet-nodes ", StringComparison.Ordinal)))
        {
            data.Add(line.Split('#')[0].Trim());
        }

        return data;
    }

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>Each command of the page, on less: synthetic images, fewer layers and steps.</summary>
    [Theory]
    [MemberData(nameof(Commands))]
    public void Command_Runs(string line)
    {
        var words = line.Split(' ')[1..].ToList();
        Set("--epochs", "1");
        Set("--train-steps", "3");
        Set("--depths", "4,8");
        Set("--depth", "4");
        Set("--dataset", "synthetic");
        Set("--batch", "50");
        words.RemoveAll(w => w is "--out" || w.StartsWith("runs/", StringComparison.Ordinal));
        words.AddRange(["--out", Path.Combine(folder, "run")]);
        if (words[0] != "memory")
        {
            words.AddRange(["--limit", "200"]);
            if (!words.Contains("--dataset"))
            {
                words.AddRange(["--dataset", "synthetic"]);
            }
        }

        var (code, _, error) = Executable.Run([.. words]);
        Assert.True(code == 0, error);

        void Set(string option, string value)
        {
            var at = words.IndexOf(option);
            if (at >= 0)
            {
                words[at + 1] = value;
            }
        }
    }

    [Fact]
    public void Commands_OfThePageAreFound() => Assert.True(Commands().Cast<object>().Count() >= 3);
}
