using ResNetNodes.Measuring;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class PartMemoryTests
{
    public static TheoryData<PartMemory[], long, int> Totals => new()
    {
        { [], 0, -1 },
        { [new("a", 0, 0, 0)], 0, -1 },
        { [new("a", 10, 30, 20)], 30, -1 },
        { [new("a", 10, 10, 20)], 10 + 20, 0 },
        { [new("a", 10, 30, 20), new("b", 5, 12, 40), new("c", 1, 2, 3)], 10 + 5 + 40, 1 },
        { [new("a", 10, 30, 20), new("b", 5, 100, 40), new("c", 1, 2, 3)], 10 + 100, -1 },
        { [new("a", 10, 30, 90), new("b", 5, 12, 40), new("c", 1, 2, 3)], 10 + 90, 0 },
        { [new("a", 10, 30, 20), new("b", 5, 12, 40), new("c", 1, 2, 50)], 10 + 5 + 1 + 50, 2 },
        { [new("a", 3L << 40, 0, 0), new("b", 1, 0, 7)], (3L << 40) + 1 + 7, 1 },
    };

    [Theory]
    [MemberData(nameof(Totals))]
    public void Total_IsTheLargestSumAtATime(PartMemory[] parts, long bytes, int part) =>
        Assert.Equal((bytes, part), PartMemory.Total(parts));

    /// <summary>
    /// Tensors of 32 MiB, large against what other tests leave. The first part keeps what its ReLU and its Tanh have made, or its output
    /// alone; the second one an output that is small.
    /// </summary>
    [Theory]
    [InlineData(false, 2)]
    [InlineData(true, 1)]
    public void Measure_FindsWhatPartsKeepAndWorkWith(bool recompute, int kept)
    {
        using var scope = NewDisposeScope();
        const double Activation = 32 << 20;
        var wide = nn.Sequential(nn.Linear(64, 4096), nn.ReLU(), nn.Tanh());
        nn.Module<Tensor, Tensor> first = recompute ? new Recomputed(wide) : wide;
        using var firstScope = first;
        using var second = nn.Linear(4096, 8);
        using var input = rand(2048, 64);
        (string, nn.Module<Tensor, Tensor>)[] parts = [("wide", first), ("narrow", second)];
        for (var i = 0; i < 2; i++)
        {
            using var step = NewDisposeScope();
            second.call(first.call(input)).mean().backward();
        }

        var rows = PartMemory.Measure(parts, input, scores => scores.mean());
        Assert.Equal(["wide", "narrow"], rows.Select(row => row.Name));
        var text = string.Join("; ", rows);
        Assert.True(Math.Abs((rows[0].KeptBytes / Activation) - kept) <= 0.3 * kept, text);
        Assert.True(Math.Abs(rows[1].KeptBytes) <= 0.3 * Activation, text);
        // Both make Linear's output too, which goes when ReLU has its own.
        Assert.True(rows[0].ForwardBytes >= 1.7 * Activation && rows[0].ForwardBytes <= 3.3 * Activation, text);
        // The gradient of its input; that of its output with at least one more on its way through the layers.
        Assert.True(rows[1].BackwardBytes >= 0.7 * Activation && rows[1].BackwardBytes <= 1.6 * Activation, text);
        // As much; but a recomputed part has let go of its output by then, and works on a quarter of the rows at a time in its place.
        Assert.True(rows[0].BackwardBytes >= (recompute ? 0.9 : 1.7) * Activation && rows[0].BackwardBytes <= 3.3 * Activation, text);
    }

    [Fact]
    public void Measure_LeavesGradientsAsAStepAndNoTensors()
    {
        using var scope = NewDisposeScope();
        using var first = nn.Sequential(nn.Linear(6, 5), nn.Tanh());
        using var second = nn.Linear(5, 4);
        (string, nn.Module<Tensor, Tensor>)[] parts = [("first", first), ("second", second)];
        Tensor[] parameters = [.. first.parameters(), .. second.parameters()];
        var input = rand(3, 6);
        second.call(first.call(input)).pow(2).sum().backward();
        var truth = Truth.TakeGradients(parameters);
        PartMemory.Measure(parts, input, y => y.pow(2).sum());
        Assert.All(Truth.TakeGradients(parameters).Zip(truth), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-6));
        PartMemory.Measure(parts, input, y => y.pow(2).sum());
        LeakTests.FinalizeOthers();
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        PartMemory.Measure(parts, input, y => y.pow(2).sum());
        Assert.Equal(tensors, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        Assert.Equal([3, 6], input.shape); // still the caller's
    }

    /// <summary>The last part's output may be the loss itself.</summary>
    [Fact]
    public void Measure_TakesALossThatThePartsGive()
    {
        using var scope = NewDisposeScope();
        using var first = nn.Linear(6, 5);
        using var second = nn.Linear(5, 1);
        var rows = PartMemory.Measure([("first", first), ("second", second)], rand(1, 6), y => y);
        Assert.Equal(["first", "second"], rows.Select(row => row.Name));
        Assert.All([first.weight, second.weight], weight => Assert.NotNull(weight!.grad));
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        using var input = zeros(1);
        Assert.Throws<ArgumentNullException>("parts", () => PartMemory.Measure(null!, input, y => y));
        Assert.Throws<ArgumentNullException>("input", () => PartMemory.Measure([], null!, y => y));
        Assert.Throws<ArgumentNullException>("loss", () => PartMemory.Measure([], input, null!));
        Assert.Throws<ArgumentNullException>("parts", () => PartMemory.Total(null!));
        Assert.Empty(PartMemory.Measure([], input, y => y));
    }
}
