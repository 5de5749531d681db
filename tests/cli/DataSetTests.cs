using System.Text.Json;
using SkiaSharp;
using Xunit;

namespace ResNetNodes.Cli.Tests;

/// <summary>Data sets by name, through the real executable, on files in exactly their formats.</summary>
public sealed class DataSetTests : IDisposable
{
    private static readonly string[] Short = ["--depth", "2", "--planes", "4", "--batch", "50", "--epochs", "1", "--limit", "100"];
    private readonly string folder = Directory.CreateTempSubdirectory("datasets").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Cifar10_OfAFolder_Trains()
    {
        // A record: one label, 32×32 red, green, blue; 10,000 records a file.
        var random = new Random(1);
        foreach (var name in new[] { "data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch" })
        {
            var records = new byte[10_000 * 3073];
            random.NextBytes(records);
            for (var i = 0; i < 10_000; i++)
            {
                records[i * 3073] = (byte)(i % 10);
            }

            File.WriteAllBytes(Path.Combine(folder, name + ".bin"), records);
        }

        var (code, output, error) = Executable.Run(
            ["train", "--dataset", "cifar10", "--data", folder, .. Short, "--out", At("run"), "--json"]);
        Assert.True(code == 0, error);
        Assert.Contains("cifar10", error);
        Assert.Equal(1, JsonDocument.Parse(output.Trim()).RootElement.GetProperty("epoch").GetInt32());
    }

    [Fact]
    public void Cifar_ThatIsNotThere_NamesTheRemedy()
    {
        var (code, _, error) = Executable.Run(["train", "--dataset", "cifar100", "--data", folder, .. Short, "--out", At("run")]);
        Assert.Equal(1, code);
        Assert.Contains("give --data or --download", error);
        Assert.False(Directory.Exists(At("run")));
    }

    [Fact]
    public void ImageFolder_TrainsAnOdeResNet_AndACorruptImageIsNamedOrSkipped()
    {
        foreach (var (half, name) in new[] { ("train", "cat"), ("train", "dog"), ("val", "cat"), ("val", "dog") })
        {
            var place = Directory.CreateDirectory(Path.Combine(folder, "images", half, name)).FullName;
            for (var i = 0; i < 4; i++)
            {
                using var bitmap = new SKBitmap(40 + i, 30);
                bitmap.Erase(name == "cat" ? SKColors.Red : SKColors.Blue);
                using var image = SKImage.FromBitmap(bitmap);
                using var data = image.Encode(SKEncodedImageFormat.Jpeg, 90);
                File.WriteAllBytes(Path.Combine(place, $"{i}.JPEG"), data.ToArray());
            }
        }

        string[] images = ["--dataset", "image-folder", "--data", Path.Combine(folder, "images"), "--image-size", "32", "--batch", "4"];
        string[] words = ["train", "--network", "ode", "--size", "auto:2", "--planes", "2", .. images, "--epochs", "1"];
        var (code, _, error) = Executable.Run([.. words, "--out", At("good")]);
        Assert.True(code == 0, error);

        // The processes of a sweep get the same images, in the same size.
        string[] sweep = ["depth-sweep", "--depths", "2", "--solvers", "euler", "--reconstructions", "backprop", "--seeds", "1"];
        var (swept, _, reason) = Executable.Run([.. sweep, .. images, "--planes", "2", "--epochs", "1", "--out", At("sweep")]);
        Assert.True(swept == 0, reason);

        // Nothing is left out without a word, and a word is said once for each split.
        File.WriteAllText(Path.Combine(folder, "images", "train", "dog", "notes.txt"), "no picture");
        File.WriteAllText(Path.Combine(folder, "images", "train", "dog", "9.tif"), "a picture of another kind");
        File.WriteAllText(Path.Combine(folder, "images", "val", "list.csv"), "of the images");
        var (told, _, warnings) = Executable.Run([.. words, "--out", At("told")]);
        Assert.True(told == 0, warnings);
        Assert.Equal(
            [
                $"warning: {Path.Combine(folder, "images", "train")}: left out: 2 files of other kinds (.tif, .txt)",
                $"warning: {Path.Combine(folder, "images", "val")}: left out: 1 file beside the class folders",
            ],
            warnings.Split('\n').Where(line => line.Contains("left out: ")));

        File.WriteAllText(Path.Combine(folder, "images", "train", "dog", "2.JPEG"), "no picture");
        var (broken, _, complaint) = Executable.Run([.. words, "--out", At("broken")]);
        Assert.Equal(1, broken);
        Assert.Contains(Path.Combine("dog", "2.JPEG"), complaint);
        var (skipped, _, warning) = Executable.Run([.. words, "--skip-corrupt", "--out", At("skipped")]);
        Assert.True(skipped == 0, warning);
        Assert.Contains("1 training and 0 test images could not be decoded", warning);
    }

    /// <summary>40 images in batches of 13: the last one has a single image.</summary>
    [Fact]
    public void DropLast_LeavesTheSmallerBatchOut()
    {
        string[] words = ["train", "--dataset", "synthetic", "--depth", "1", "--planes", "2", "--epochs", "1", "--limit", "40", "--json"];
        var (code, output, error) = Executable.Run([.. words, "--batch", "13", "--drop-last", "--out", At("run")]);
        Assert.True(code == 0, error);
        Assert.Single(output.Trim().Split('\n'));
        var (refused, _, reason) = Executable.Run([.. words, "--batch", "1000000", "--drop-last", "--out", At("none")]);
        Assert.NotEqual(0, refused);
        Assert.Contains("its 40 images are fewer than a batch of 1000000, and --drop-last leaves out what is smaller", reason);
        var (whole, _, complaint) = Executable.Run([.. words, "--batch", "1000000", "--out", At("whole")]);
        Assert.True(whole == 0, complaint);
    }

    [Fact]
    public void CifarsPythonVersion_IsCalledByItsName()
    {
        var python = Directory.CreateDirectory(Path.Combine(folder, "cifar-10-batches-py")).FullName;
        File.WriteAllBytes(Path.Combine(python, "data_batch_1"), [0x80, 2]);
        Assert.All([folder, python], path =>
        {
            var (code, _, error) = Executable.Run(["train", "--dataset", "cifar10", "--data", path, .. Short, "--out", At("run")]);
            Assert.Equal(1, code);
            Assert.Contains($"{python}: is cifar10's Python version, whose pickled objects are not read; give the binary version", error);
        });
    }

    [Theory]
    [InlineData("--download is for cifar10 and cifar100", "--dataset", "synthetic", "--download")]
    [InlineData("--skip-corrupt is for", "--dataset", "synthetic", "--skip-corrupt")]
    [InlineData("needs --data", "--dataset", "imagenet")]
    [InlineData("did you mean cifar10?", "--dataset", "cifar01")]
    [InlineData("--image-size is for image-folder and imagenet, --dataset is synthetic", "--dataset", "synthetic", "--image-size", "64")]
    public void WrongUsage_IsOneLine(string message, params string[] words)
    {
        var (code, _, error) = Executable.Run(["train", .. words, "--out", At("run")]);
        Assert.Equal(2, code);
        Assert.Contains(message, Assert.Single(error.Trim().Split('\n')));
        Assert.False(Directory.Exists(At("run")));
    }

    private string At(string name) => Path.Combine(folder, name);
}
