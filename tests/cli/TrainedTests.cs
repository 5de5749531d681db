using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>The verbs that use a trained network. Their truth: each other, the training's own tests, counts by hand.</summary>
public sealed class TrainedTests(TrainedFixture trained) : IClassFixture<TrainedFixture>, IDisposable
{
    private static readonly string[] Folder = ["--dataset", "image-folder", "--data", "IMAGES"], Synthetic = ["--dataset", "synthetic"];

    private readonly string folder = Directory.CreateTempSubdirectory("using").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>The tests of the training again, to the last bit; the counts add up.</summary>
    [Fact]
    public void Evaluate_IsTheLastTestOfTheTraining()
    {
        var (code, rows, error) = Evaluate("val", "--checkpoint", trained.Checkpoint);
        Assert.True(code == 0, error);
        var whole = rows.Single(row => row.TryGetProperty("loss", out _));
        Assert.Equal(trained.LastEpoch["test_accuracy"], Number(whole, "accuracy"));
        Assert.Equal(trained.LastEpoch["test_loss"], Number(whole, "loss"));
        Assert.Equal(15, Number(whole, "images"));
        // Of three classes the first five are all.
        Assert.Equal(JsonValueKind.Null, whole.GetProperty("top5_accuracy").ValueKind);

        var pairs = rows.Where(row => row.TryGetProperty("predicted", out _)).ToList();
        Assert.Equal(15, pairs.Sum(row => Number(row, "images")));
        Assert.Equal(Number(whole, "accuracy"), pairs.Where(IsRight).Sum(row => Number(row, "images")) / 15);
        var classes = rows.Where(row => row.TryGetProperty("precision", out _)).ToList();
        Assert.Equal(TrainedFixture.Classes, classes.Select(row => row.GetProperty("class").GetString()));
        foreach (var one in classes)
        {
            double Sum(string key, bool right = false) => pairs
                .Where(row => Number(row, key) == Number(one, "label") && (!right || IsRight(row))).Sum(row => Number(row, "images"));
            Assert.Equal((5, 5), (Number(one, "images"), Sum("label")));
            Assert.Equal(Sum("label", true), Number(one, "correct"));
            Assert.Equal(Sum("label", true) / 5, Number(one, "accuracy"));
            Assert.True(Sum("predicted") == 0
                ? one.GetProperty("precision").ValueKind == JsonValueKind.Null
                : Sum("label", true) / Sum("predicted") == Number(one, "precision"));
        }

        Assert.All(
            ["evaluation.csv", "classes.csv", "confusion.csv", "confusion.png", "confusion.svg", "summary.json"],
            name => Assert.True(new FileInfo(Path.Combine(At("val"), name)).Length > 0, name));
        static bool IsRight(JsonElement row) => Number(row, "label") == Number(row, "predicted");
    }

    /// <summary>The same images one by one: each class as often as evaluate has counted it, and scores that are shares.</summary>
    [Fact]
    public void Predict_AgreesWithEvaluate()
    {
        var (_, evaluated, _) = Evaluate("val", "--checkpoint", trained.Checkpoint);
        var val = Path.Combine(trained.Images, "val");
        var (code, rows, error) = Executable.RunRows(
            "predict", "--checkpoint", trained.Checkpoint, val, "--top", "9", "--batch", "4", "--json");
        Assert.True(code == 0, error);
        Assert.Equal(15 * 3, rows.Count);
        foreach (var image in rows.GroupBy(row => row.GetProperty("image").GetString()))
        {
            // float64 sums of three shares
            Assert.Equal(1, image.Sum(row => Number(row, "score")), 1e-12);
            Assert.Equal([1, 2, 3], image.Select(row => Number(row, "rank")));
            Assert.Equal(image.Select(row => Number(row, "score")).OrderDescending(), image.Select(row => Number(row, "score")));
        }

        var counts = rows.Where(row => Number(row, "rank") == 1).GroupBy(row => (
            Class: Path.GetFileName(Path.GetDirectoryName(row.GetProperty("image").GetString()!))!,
            Predicted: row.GetProperty("class").GetString()!)).ToDictionary(group => group.Key, group => (double)group.Count());
        var expected = evaluated.Where(row => row.TryGetProperty("predicted", out _)).ToDictionary(
            row => (row.GetProperty("class").GetString()!, row.GetProperty("predicted_class").GetString()!),
            row => Number(row, "images"));
        Assert.Equal(expected.OrderBy(pair => pair.Key), counts.OrderBy(pair => pair.Key));
    }

    [Fact]
    public void Predict_TellsWhatItCantRead_AndClassifiesTheRest()
    {
        var good = Path.Combine(trained.Images, "val", "red", "0.bmp");
        File.WriteAllBytes(At("cut.bmp"), File.ReadAllBytes(good)[..500]);
        File.WriteAllText(At("text.png"), "no image");
        File.WriteAllText(At("empty.jpg"), string.Empty);
        string[] words =
            ["predict", "--checkpoint", trained.Checkpoint, At("cut.bmp"), At("text.png"), good, At("empty.jpg"), At("none.png")];
        var (code, output, error) = Executable.Run([.. words, "--to", At("classes.csv")]);
        Assert.Equal(1, code);
        Assert.Empty(output);
        Assert.Contains("cut.bmp: is ", error);
        Assert.Contains("text.png: is not a JPEG, PNG, WebP or BMP image", error);
        Assert.Contains("empty.jpg: is empty", error);
        Assert.Contains("none.png: can't be read: No such file", error);
        Assert.EndsWith("4 of 5 images could not be classified\n", error);
        var lines = File.ReadAllLines(At("classes.csv"));
        Assert.Equal("image,rank,label,class,score", lines[0]);
        Assert.StartsWith(good + ",1,", Assert.Single(lines[1..]));

        // The file is kept, or replaced.
        var (again, _, complaint) = Executable.Run("predict", "--checkpoint", trained.Checkpoint, good, "--to", At("classes.csv"));
        Assert.Equal(1, again);
        Assert.Contains("classes.csv: is there already; take --overwrite", complaint);
        Assert.Equal(
            0, Executable.Run("predict", "--checkpoint", trained.Checkpoint, good, "--to", At("classes.csv"), "--overwrite").Code);
        Assert.Equal(0, Executable.Run("predict", "--checkpoint", trained.Checkpoint, good, "--to", At("classes.jsonl")).Code);
        using var line = JsonDocument.Parse(Assert.Single(File.ReadAllLines(At("classes.jsonl"))));
        Assert.Equal(lines[1].Split(',')[2], $"{line.RootElement.GetProperty("label").GetInt32()}");
        // Without any that can be read there is no file.
        Assert.Equal(1, Executable.Run("predict", "--checkpoint", trained.Checkpoint, At("none.png"), "--to", At("n.csv")).Code);
        Assert.False(File.Exists(At("n.csv")));
    }

    /// <summary>Out into each format and in again: nothing of what the network computes changes.</summary>
    [Theory]
    [InlineData(".safetensors")]
    [InlineData(".pth")]
    public void ExportAndImport_KeepEveryBit(string ending)
    {
        var (code, rows, error) = Executable.RunRows("export", "--checkpoint", trained.Checkpoint, "--to", At("n" + ending), "--json");
        Assert.True(code == 0, error);
        // Stem, three functions, head; running means and variances, and counters, are no parameters.
        Assert.Equal(Parameters(3, 4, 3), Number(rows[0], "parameters"));
        Assert.Equal(0, Executable.Run("import", "--from", At("n" + ending), "--to", At("n.bin")).Code);
        Assert.Equal(trained.LastEpoch["test_loss"], Loss(At("n" + ending), "exported"));
        Assert.Equal(trained.LastEpoch["test_loss"], Loss(At("n.bin"), "imported"));
    }

    /// <summary>A file without texts, as others write them: the options say what it holds.</summary>
    [Fact]
    public void Import_TakesAFileThatSaysNothing_ByOptions()
    {
        Assert.Equal(0, Executable.Run("export", "--checkpoint", trained.Checkpoint, "--to", At("own.safetensors")).Code);
        var file = File.ReadAllBytes(At("own.safetensors"));
        var length = (int)BitConverter.ToInt64(file);
        var header = JsonNode.Parse(file.AsSpan(sizeof(long), length))!.AsObject();
        Assert.True(header.Remove("__metadata__"));
        var text = Encoding.UTF8.GetBytes(header.ToJsonString());
        File.WriteAllBytes(
            At("other.safetensors"), [.. BitConverter.GetBytes(text.LongLength), .. text, .. file[(sizeof(long) + length)..]]);
        File.WriteAllLines(At("names.txt"), TrainedFixture.Classes);
        string[] words = ["import", "--from", At("other.safetensors"), "--planes", "4", "--classes", "3"];
        var (wrong, _, complaint) = Executable.Run([.. words, "--depth", "4", "--to", At("n.bin")]);
        Assert.Equal(1, wrong);
        Assert.Contains("stage.functions.3", complaint);
        Assert.False(File.Exists(At("n.bin")));
        var (code, _, error) = Executable.Run(
        [
            .. words, "--depth", "3", "--input", "image-folder", "--image-size", "32", "--class-names", At("names.txt"),
            "--to", At("n.bin"),
        ]);
        Assert.True(code == 0, error);
        Assert.Equal(trained.LastEpoch["test_loss"], Loss(At("n.bin"), "tested"));
    }

    /// <summary>Shallow weights in a deep network, and a training that begins with them.</summary>
    [Fact]
    public void Import_Stretches_AndTrainGoesOn()
    {
        var (stretched, _, error) = Executable.Run("import", "--from", trained.Checkpoint, "--stretch-to", "6", "--to", At("deep.bin"));
        Assert.True(stretched == 0, error);
        var (trains, _, why) = Executable.Run(
            "train", "--init", At("deep.bin"), "--depth", "6", "--planes", "4", "--dataset", "image-folder", "--data", trained.Images,
            "--image-size", "32", "--batch", "8", "--epochs", "1", "--lr", "1e-9", "--out", At("fine"), "--quiet");
        Assert.True(trains == 0, why);
        // After steps of next to no length it is where it began, but for running means and variances: far better than a guess.
        Assert.InRange(Loss(Path.Combine(At("fine"), "checkpoint.bin"), "tested"), 0, 1.5 * Loss(At("deep.bin"), "deep"));
    }

    /// <summary>The function that all steps of a tied network share, in each step: the same network.</summary>
    [Fact]
    public void Import_UntiesToTheSameNetwork()
    {
        var run = Executable.Run(
        [
            "train", "--network", "tied", "--size", "custom-basic:3+1+2+1", "--planes", "2", "--dataset", "synthetic", "--limit", "40",
            "--batch", "20", "--epochs", "1", "--out", At("tied"), "--quiet",
        ]);
        Assert.True(run.Code == 0, run.Error);
        var checkpoint = Path.Combine(At("tied"), "checkpoint.bin");
        Assert.Equal(0, Executable.Run("import", "--from", checkpoint, "--untie", "--to", At("untied.safetensors")).Code);
        double Synthetic(string file, string name)
        {
            var (code, rows, error) = Executable.RunRows(
                "evaluate", "--checkpoint", file, "--dataset", "synthetic", "--limit", "40", "--out", At(name), "--json");
            Assert.True(code == 0, error);
            return Number(rows[0], "loss");
        }

        Assert.Equal(Synthetic(checkpoint, "e1"), Synthetic(At("untied.safetensors"), "e2"));
    }

    [Fact]
    public void Summary_CountsByClosedForm()
    {
        var (code, rows, error) = Executable.RunRows(
            "summary", "--depth", "7", "--planes", "5", "--classes", "4", "--batch", "6", "--reconstructions", "inverse,backprop",
            "--json");
        Assert.True(code == 0, error);
        var whole = rows.Single(row => row.TryGetProperty("rest_bytes", out _));
        Assert.Equal(Parameters(7, 5, 4), Number(whole, "parameters"));
        Assert.Equal(12 * Parameters(7, 5, 4), Number(whole, "rest_bytes"));
        var layers = rows.Where(row => row.TryGetProperty("layer", out _)).ToList();
        Assert.Equal(Parameters(7, 5, 4), layers.Sum(row => Number(row, "parameters")));
        // 32 + 2·1 − 5 over 3, and one; then pooled by 4.
        Assert.Equal(["5×10×10", "5×2×2", "20", "4"], layers.Select(row => row.GetProperty("output").GetString()).Distinct());
        var steps = rows.Where(row => row.TryGetProperty("step_bytes", out _))
            .ToDictionary(row => row.GetProperty("reconstruction").GetString()!, row => Number(row, "step_bytes"));
        // Beyond one state, backprop stores at least what each of the other functions was given.
        Assert.True(steps["backprop"] - steps["inverse"] > 5 * 6 * 5 * 100 * sizeof(float));

        var (_, own, _) = Executable.RunRows("summary", "--checkpoint", trained.Checkpoint, "--json");
        Assert.Equal(Parameters(3, 4, 3), Number(own.Single(row => row.TryGetProperty("rest_bytes", out _)), "parameters"));
    }

    public static TheoryData<string, string[]> Wrong() => new()
    {
        { "needs --checkpoint", ["evaluate"] },
        { "needs --checkpoint", ["predict", "a.png"] },
        { "needs an IMAGE", ["predict", "--checkpoint", "CHECKPOINT"] },
        { "holds no .jpg", ["predict", "--checkpoint", "CHECKPOINT", "EMPTY"] },
        { "expected a name that ends with .csv or .jsonl", ["predict", "--checkpoint", "CHECKPOINT", "--to", "x.txt", "a.png"] },
        { "its folder is not there", ["predict", "--checkpoint", "CHECKPOINT", "--to", "/nowhere/x.csv", "a.png"] },
        { "has 10 classes, the network 3", ["evaluate", "--checkpoint", "CHECKPOINT", .. Synthetic] },
        { "was not trained on its class 'T-shirt/top'", ["evaluate", "--checkpoint", "CHECKPOINT"] },
        { "a tiny network works on images of 32×32", ["evaluate", "--checkpoint", "CHECKPOINT", .. Folder, "--image-size", "40"] },
        { "is damaged (its checksum is wrong)", ["evaluate", "--checkpoint", "CUT"] },
        { "needs --to", ["export", "--checkpoint", "CHECKPOINT"] },
        { "expected a name that ends with .safetensors, .pth or .pt", ["export", "--checkpoint", "CHECKPOINT", "--to", "x.onnx"] },
        { "torchvision has no rule for stage", ["export", "--checkpoint", "CHECKPOINT", "--names", "torchvision", "--to", "NEW.pth"] },
        { "needs --from", ["import", "--to", "NEW.bin"] },
        { "says which network it holds", ["import", "--from", "CHECKPOINT", "--depth", "4", "--to", "NEW.bin"] },
        { "--untie is for tied networks, this one is tiny", ["import", "--from", "CHECKPOINT", "--untie", "--to", "NEW.bin"] },
        { "--stretch-to is 0, expected a whole number from 1", ["import", "--from", "CHECKPOINT", "--stretch-to", "0", "--to", "NEW.bin"] },
        { "without --input", ["import", "--from", "CHECKPOINT", "--image-size", "40", "--to", "NEW.bin"] },
        { "the network 3 classes", ["import", "--from", "CHECKPOINT", "--class-names", "IMAGES/val/red/0.bmp", "--to", "NEW.bin"] },
        { "says which network it holds", ["summary", "--checkpoint", "CHECKPOINT", "--size", "34"] },
        { "--image is 40, but a tiny network", ["summary", "--checkpoint", "CHECKPOINT", "--image", "40"] },
        { "its depth is 3, here 4", ["train", "--init", "CHECKPOINT", .. Folder, "--image-size", "32", "--depth", "4", "--planes", "4"] },
        { "take --new-head", ["train", "--init", "CHECKPOINT", "--depth", "3", "--planes", "4"] },
        { "no --init", ["train", "--new-head"] },
        { "classes is 3, here 10", ["compare-gradients", "--checkpoint", "CHECKPOINT", "--depths", "3", "--planes", "4", .. Synthetic] },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void WrongUse_IsOneLine_AndLeavesNothing(string message, string[] words)
    {
        Directory.CreateDirectory(At("empty"));
        File.WriteAllBytes(At("cut.bin"), File.ReadAllBytes(trained.Checkpoint)[..2000]);
        string[] target = Help.Options(words[0]).ContainsKey("out") ? ["--out", At("out")] : [];
        var (code, output, error) = Executable.Run(
        [
            .. words.Select(word => word.Replace("CHECKPOINT", trained.Checkpoint, StringComparison.Ordinal)
                .Replace("IMAGES", trained.Images, StringComparison.Ordinal).Replace("EMPTY", At("empty"), StringComparison.Ordinal)
                .Replace("CUT", At("cut.bin"), StringComparison.Ordinal).Replace("NEW", At("new"), StringComparison.Ordinal)),
            .. target,
        ]);
        Assert.InRange(code, 1, 2);
        Assert.Empty(output);
        Assert.Contains(message, Assert.Single(error.TrimEnd('\n').Split('\n')));
        Assert.False(Directory.Exists(At("out")));
        Assert.Equal(["cut.bin", "empty"], Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName).Order());
    }

    // Convolution 5×5 and normalization; two convolutions with bias and two normalizations each; a linear layer of 2×2 pixels.
    private static double Parameters(int depth, int planes, int classes) => (75 * planes) + (2 * planes)
        + (depth * ((18 * planes * planes) + (6 * planes))) + (classes * ((4 * planes) + 1));

    private static double Number(JsonElement row, string key) => row.GetProperty(key).GetDouble();

    private double Loss(string checkpoint, string name)
    {
        var (code, rows, error) = Evaluate(name, "--checkpoint", checkpoint);
        Assert.True(code == 0, error);
        return Number(rows[0], "loss");
    }

    private (int Code, List<JsonElement> Rows, string Error) Evaluate(string name, params string[] words) => Executable.RunRows(
        ["evaluate", .. words, "--dataset", "image-folder", "--data", trained.Images, "--out", At(name), "--json"]);

    private string At(string name) => Path.Combine(folder, name);
}
