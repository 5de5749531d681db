using System.Text.Json;
using Xunit;

namespace ResNetNodes.Cli.Tests;

public sealed class VerbTests : IDisposable
{
    private static readonly string[] Small = ["--dataset", "synthetic", "--limit", "200", "--planes", "4", "--batch", "50"];
    private readonly string folder = Directory.CreateTempSubdirectory("verbs").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Train_WritesItsFolderAndOneRowAnEpoch()
    {
        var (code, rows, error) = Run(["train", "--depth", "2", "--epochs", "2", .. Small, "--out", At("a"), "--json"]);
        Assert.True(code == 0, error);
        Assert.Equal(2, rows.Count);
        Assert.All(rows, row => Keys(row, "epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds", "peak_bytes"));
        Assert.All(
            ["config.json", "metrics.csv", "checkpoint.bin", "accuracy.png", "accuracy.svg"],
            name => Assert.True(new FileInfo(Path.Combine(At("a"), name)).Length > 0));
        Assert.DoesNotContain('\u001b', error);
    }

    [Fact]
    public void Train_ResumesAndRepeatsARun()
    {
        string[] schedule = ["--schedule", "constant"];
        Assert.Equal(0, Run(["train", "--depth", "2", "--epochs", "2", .. schedule, .. Small, "--out", At("whole")]).Code);
        Assert.Equal(0, Run(["train", "--depth", "2", "--epochs", "1", .. schedule, .. Small, "--out", At("cut")]).Code);
        Assert.Equal(1, Run(["train", "--depth", "2", "--epochs", "2", .. schedule, .. Small, "--out", At("cut")]).Code);
        Assert.Equal(0, Run(["train", "--depth", "2", "--epochs", "2", .. schedule, .. Small, "--out", At("cut"), "--resume"]).Code);
        Assert.Equal(0, Run(["train", "--config", Path.Combine(At("whole"), "config.json"), "--out", At("again")]).Code);
        // Losses and accuracies; times and memory differ.
        string[] Losses(string name) =>
            [.. File.ReadLines(Path.Combine(At(name), "metrics.csv")).Select(line => string.Join(',', line.Split(',')[..6]))];
        Assert.Equal(Losses("whole"), Losses("cut"));
        Assert.Equal(Losses("whole"), Losses("again"));
    }

    [Fact]
    public void Precision_IsWrittenReportedAndHonoured()
    {
        string[] words = ["train", "--depth", "2", "--epochs", "1", "-v", .. Small];
        var (code, _, error) = Run([.. words, "--precision", "bfloat16", "--out", At("mixed")]);
        Assert.True(code == 0, error);
        Assert.Contains("compute=bfloat16", error);
        Assert.Contains("functions in bfloat16, device cpu", error);
        Assert.Equal(0, Run([.. words, "--out", At("single")]).Code);
        string Losses(string name) => string.Join(',', File.ReadLines(Path.Combine(At(name), "metrics.csv")).Last().Split(',')[..6]);
        Assert.NotEqual(Losses("single"), Losses("mixed"));
        using var config = JsonDocument.Parse(File.ReadAllText(Path.Combine(At("mixed"), "config.json")));
        Assert.Equal("bfloat16", config.RootElement.GetProperty("options").GetProperty("precision").GetString());
        Assert.Equal(0, Run(["train", "--config", Path.Combine(At("mixed"), "config.json"), "--out", At("again")]).Code);
        Assert.Equal(Losses("mixed"), Losses("again"));
    }

    [Fact]
    public void Folder_OfSomeoneElseIsNotEmptied()
    {
        Directory.CreateDirectory(At("mine"));
        File.WriteAllText(Path.Combine(At("mine"), "thesis.txt"), "text");
        var (code, _, error) = Run(["train", "--depth", "2", .. Small, "--out", At("mine"), "--overwrite"]);
        Assert.Equal(1, code);
        Assert.Contains("is not the folder of a run", error);
        Assert.True(File.Exists(Path.Combine(At("mine"), "thesis.txt")));
    }

    [Fact]
    public void CompareGradients_GivesWholeAndPerParameterRows()
    {
        var (code, rows, error) = Run(
            [
                "compare-gradients", "--depths", "4,8", "--solvers", "euler,heun",
                "--reconstructions", "inverse,corrected:2,checkpoint", "--train-steps", "3", .. Small, "--out", At("g"), "--json"
            ]);
        Assert.True(code == 0, error);
        var whole = rows.Where(row => !row.TryGetProperty("parameter", out _)).ToList();
        // The three methods, and inverse from exact outputs.
        Assert.Equal(16, whole.Count);
        Assert.All(whole, row => Keys(row, "depth", "solver", "reconstruction", "relative_error", "cosine"));
        Assert.All(
            whole.Where(row => row.GetProperty("reconstruction").GetString() == "checkpoint"),
            row => Assert.True(row.GetProperty("relative_error").GetDouble() < 1e-4));
        Assert.True(rows.Count > 16);
        Assert.True(File.Exists(Path.Combine(At("g"), "gradients.png")));
    }

    private static void Keys(JsonElement row, params string[] keys) =>
        Assert.All(keys, key => Assert.True(row.TryGetProperty(key, out _), key));

    private static (int Code, List<JsonElement> Rows, string Error) Run(string[] arguments) => Executable.RunRows(arguments);

    private string At(string name) => Path.Combine(folder, name);
}
