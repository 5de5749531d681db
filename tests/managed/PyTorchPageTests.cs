using ResNetNodes.Weights;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Rows of docs/pytorch.md: what its left column computes, as a plain loop, is what its right column does.</summary>
public sealed class PyTorchPageTests
{
    private const int N = 6;

    private static readonly StageOptions Inverse = new() { Reconstruction = Reconstruction.Inverse };

    [Fact]
    public void StepSizeOfOne_IsAPlainSum()
    {
        using var scope = NewDisposeScope();
        var functions = Functions(N);
        var x = Truth.Normal(1, 3, 4);
        var state = x;
        foreach (var function in functions)
        {
            state = state + function.call(state);
        }

        Same(state, new ResidualStage(functions, new StageOptions { StepSize = 1 }).call(x));
    }

    [Fact]
    public void Shared_IsOneFunctionOverAndOver()
    {
        using var scope = NewDisposeScope();
        var function = Functions(1)[0];
        var x = Truth.Normal(2, 3, 4);
        var state = x;
        for (var n = 0; n < N; n++)
        {
            state = state + (function.call(state) / N);
        }

        Same(state, ResidualStage.Shared(function, N).call(x));
    }

    /// <summary>As torchdiffeq's fixed grid of N steps from 0 to 1.</summary>
    [Fact]
    public void SharedWithDepth_IsEulersMethodInTime()
    {
        using var scope = NewDisposeScope();
        var function = new TimesTime();
        var x = Truth.Normal(3, 3, 4);
        var state = x;
        for (var n = 0; n < N; n++)
        {
            state = state + (function.call(state, tensor((double)n / N)) / N);
        }

        Same(state, ResidualStage.SharedWithDepth(function, N, Inverse).call(x));
    }

    [Fact]
    public void Midpoint_IsTheMidpointMethod()
    {
        using var scope = NewDisposeScope();
        var function = Functions(1)[0];
        var x = Truth.Normal(4, 3, 4);
        var state = x;
        for (var n = 0; n < N; n++)
        {
            state = state + (function.call(state + (function.call(state) / (2 * N))) / N);
        }

        Same(state, ResidualStage.Shared(function, N, Inverse with { Solver = Solver.Midpoint }).call(x));
    }

    [Fact]
    public void Blocks_AreTheirFormulas()
    {
        using var scope = NewDisposeScope();
        var function = Functions(1)[0];
        var x = Truth.Normal(5, 3, 4);
        Same(function.call(x), new Recomputed(function).call(x));
        var (branch, shortcut) = (Functions(1)[0], nn.Linear(4, 4, dtype: float64));
        Same((branch.call(x) + shortcut.call(x)).relu(), new ResidualBlock(branch, shortcut).call(x));
        var stage = new ResidualStage([new RectifiedBranch(branch)], new StageOptions { StepSize = 1 });
        Same((x + branch.call(x)).relu(), stage.call(x));
    }

    /// <summary>The names of TorchSharp on the page.</summary>
    [Fact]
    public void Names_AreThoseOfTorchSharp()
    {
        using var scope = NewDisposeScope();
        var (a, b) = (nn.Linear(4, 4), nn.Linear(4, 4));
        Assert.Equal(["a.weight", "a.bias", "b.weight", "b.bias"], nn.Sequential(("a", a), ("b", b)).state_dict().Keys);
        Assert.Equal(2, nn.ModuleList<nn.Module>(a, b).Count);
        Assert.Same(a, nn.ModuleDict<nn.Module>(("a", a))["a"]);
        var hooked = 0;
        a.register_forward_hook((_, _, output) =>
        {
            hooked++;
            return output;
        });
        a.forward(ones(1, 4));
        Assert.Equal(0, hooked);
        a.call(ones(1, 4));
        Assert.Equal(1, hooked);
        Assert.Equal(DeviceType.CPU, device("cpu").type);
    }

    [Theory]
    [InlineData("a.pth")]
    [InlineData("a.safetensors")]
    public void SavedWeights_AreLoaded(string name)
    {
        using var scope = NewDisposeScope();
        var folder = Directory.CreateTempSubdirectory("weights");
        var (a, b) = (nn.Linear(4, 4), nn.Linear(4, 4));
        WeightsFile.Save(Path.Combine(folder.FullName, name), a);
        WeightsFile.Load(Path.Combine(folder.FullName, name), b);
        folder.Delete(recursive: true);
        Assert.True(a.weight!.equal(b.weight!).all().item<bool>());
    }

    private static nn.Module<Tensor, Tensor>[] Functions(int count) =>
    [
        .. Enumerable.Range(0, count).Select(_ => nn.Sequential(
            nn.Linear(4, 5, dtype: float64), nn.Tanh(), nn.Linear(5, 4, dtype: float64))),
    ];

    // Sums of a few float64 numbers of size 1 in another order.
    private static void Same(Tensor expected, Tensor found) =>
        Assert.InRange((expected - found).abs().max().item<double>(), 0, 1e-14 * Math.Max(1, expected.abs().max().item<double>()));

    private sealed class TimesTime() : nn.Module<Tensor, Tensor, Tensor>(nameof(TimesTime))
    {
        public override Tensor forward(Tensor x, Tensor t) => x.tanh() * (1 + t);
    }
}
