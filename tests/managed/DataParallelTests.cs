using System.Globalization;
using System.Runtime.InteropServices;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>
/// Several processes under mpirun. The truth of a training is one process that adds up the gradients of the shares of all ranks, in the
/// ranks' order, and has the same bits.
/// </summary>
public sealed class DataParallelTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("ranks").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Theory]
    [InlineData("euler", 2)]
    [InlineData("heun", 2)]
    [InlineData("float64", 4)]
    [InlineData("in-place", 2)]
    [InlineData("backprop", 2)]
    [InlineData("called", 2)]
    [InlineData("frozen", 2)]
    [InlineData("adam", 2)]
    [InlineData("mixup", 2)]
    [InlineData("resnet", 2)]
    [InlineData("tied", 2)]
    public void Training_EqualsOneProcessThatAccumulates(string network, int ranks)
    {
        var (one, many) = (Folder("one"), Folder("many"));
        // In place, one process adds a batch's parts to those of the batches before: another order than that of whole gradients.
        var alone = TestProcess.Run("ranks", "train", one, network == "in-place" ? "euler" : network, "16", $"{ranks}", "2");
        var (code, together, error) = TestProcess.RunRanks(ranks, "ranks", "train", many, network, "16", $"{ranks}", "2");
        Assert.True(code == 0, error);
        // Losses of the training are rounded once more by one process; those of tests depend on running statistics, which are means here.
        Assert.Equal(Losses(alone), Losses(together), (a, b) => Math.Abs(a - b) < 1e-12);
        for (var rank = 0; rank < ranks; rank++)
        {
            Assert.Equal(Read(one, "parameters-0.bin"), Read(many, $"parameters-{rank}.bin"));
            Assert.Equal(Read(many, "weights-0.safetensors"), Read(many, $"weights-{rank}.safetensors"));
        }
    }

    /// <summary>
    /// With the statistics of all ranks' images: the weights of one process that has the whole batch, in float64 after 24 steps; running
    /// statistics too.
    /// </summary>
    [Theory]
    [InlineData("sync-euler", 2)]
    [InlineData("sync-euler", 4)]
    [InlineData("sync-heun", 2)]
    [InlineData("sync-frozen", 2)]
    [InlineData("sync-resnet", 2)]
    [InlineData("sync-tied", 4)]
    public void SynchronizedTraining_EqualsTheWholeBatch(string network, int ranks)
    {
        var (one, many) = (Folder("one"), Folder("many"));
        TestProcess.Run("ranks", "train", one, network, "16", $"{ranks}", "4");
        var (code, _, error) = TestProcess.RunRanks(ranks, "ranks", "train", many, network, "16", $"{ranks}", "4");
        Assert.True(code == 0, error);
        foreach (var name in new[] { "parameters-0.bin", "buffers-0.bin" })
        {
            var expected = MemoryMarshal.Cast<byte, double>(Read(one, name)).ToArray();
            var found = MemoryMarshal.Cast<byte, double>(Read(many, name)).ToArray();
            Assert.Equal(expected, found, (a, b) => Math.Abs(a - b) <= 1e-12 * Math.Max(1, Math.Abs(a)));
        }

        Assert.Equal(Read(many, "weights-0.safetensors"), Read(many, $"weights-{ranks - 1}.safetensors"));
    }

    /// <summary>A batch of 16 for three ranks, and a last one of fewer: shares differ.</summary>
    [Theory]
    [InlineData("adam", 3)]
    [InlineData("mixup", 2)]
    public void Training_GoesOnFromAnyStep(string network, int ranks)
    {
        var (whole, resumed) = (Folder("whole"), Folder("resumed"));
        var (code, _, error) = TestProcess.RunRanks(ranks, "ranks", "train", whole, network, "25", $"{ranks}", "2");
        Assert.True(code == 0, error);
        (code, _, error) = TestProcess.RunRanks(
            ranks, "ranks", "train", resumed, network, "25", $"{ranks}", "2", Path.Combine(whole, "run-1.bin"));
        Assert.True(code == 0, error);
        for (var rank = 0; rank < ranks; rank++)
        {
            Assert.Equal(Read(whole, "weights-0.safetensors"), Read(resumed, $"weights-{rank}.safetensors"));
        }
    }

    /// <summary>Of other numbers of ranks a run is the same but for rounding and the statistics of batches.</summary>
    [Fact]
    public void Training_GoesOnWithOtherRanks()
    {
        var (whole, resumed) = (Folder("whole"), Folder("resumed"));
        Assert.Equal(0, TestProcess.RunRanks(2, "ranks", "train", whole, "euler", "16", "2", "1").Code);
        var (code, output, error) = TestProcess.RunRanks(
            3, "ranks", "train", resumed, "euler", "16", "3", "1", Path.Combine(whole, "run-2.bin"));
        Assert.True(code == 0, error);
        Assert.StartsWith("1 ", Assert.Single(output), StringComparison.Ordinal);
        Assert.Equal(Read(resumed, "weights-0.safetensors"), Read(resumed, "weights-2.safetensors"));
    }

    /// <summary>Shares of 2, 2 and 3 images, against one process; weights that are others on each rank before they are joined.</summary>
    [Fact]
    public void ALoopOfOnesOwn_GetsTheMeanGradient()
    {
        var (code, _, error) = TestProcess.RunRanks(3, "ranks", "loop");
        Assert.True(code == 0, error);
    }

    /// <summary>
    /// Gradients that travel during the backward pass (<see cref="ResNetNodes.Distributed.BucketStart"/>): the bits of those that travel
    /// after it; what would change one on its way is refused.
    /// </summary>
    [Fact]
    public void GradientsThatTravelEarly_AreTheSame()
    {
        var (code, _, error) = TestProcess.RunRanks(2, "ranks", "overlap");
        Assert.True(code == 0, error);
    }

    private static List<double> Losses(string[] lines) =>
        [.. lines.Select(line => double.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture))];

    private static byte[] Read(string folder, string name) => File.ReadAllBytes(Path.Combine(folder, name));

    private string Folder(string name) => Directory.CreateDirectory(Path.Combine(folder, name)).FullName;
}
