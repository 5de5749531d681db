using System.Globalization;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>What a <see cref="Recomputed"/> keeps, how long, and <see cref="Recomputed.Sequential"/>, which is made for that.</summary>
public sealed class RecomputedMemoryTests
{
    public static TheoryData<StageExecution, bool> Products => new()
    {
        { StageExecution.Auto, false }, { StageExecution.Auto, true },
        { StageExecution.Callback, false }, { StageExecution.Callback, true },
    };

    [Theory]
    [MemberData(nameof(Products))]
    public void Steps_LeaveNoTensorsNorNativeObjects(StageExecution execution, bool stored)
    {
        using var network = Recomputed.Sequential(
            [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 5)],
            3,
            new RecomputedOptions { Execution = execution, Stored = stored });
        using var x = rand(2, 3, 6, 6);
        LeavesNothing(200, () =>
        {
            network.call(x).pow(2).sum().backward();
            network.zero_grad();
        });
    }

    /// <summary>With the graph, not some time after it.</summary>
    [Theory]
    [MemberData(nameof(Products))]
    public void AForwardPassThatIsDropped_LeavesNothing(StageExecution execution, bool stored)
    {
        using var recomputed = new Recomputed(Truth.LinearFunction(6), new RecomputedOptions { Execution = execution, Stored = stored });
        using var x = rand(5, 6);
        LeavesNothing(20, () => recomputed.call(x).mean());
    }

    /// <param name="failingCall">In the forward pass, or on the way back.</param>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Exceptions_LeaveNothing(int failingCall)
    {
        var calls = 0;
        using var linear = nn.Linear(6, 6);
        using var recomputed = new Recomputed(
            nn.Sequential(linear, new Lambda(x => ++calls == failingCall ? throw new InvalidOperationException("failed") : x.sin())));
        using var x = rand(5, 6);
        LeavesNothing(50, () =>
        {
            calls = 0;
            Assert.Throws<InvalidOperationException>(() => recomputed.call(x).sum().BackwardThroughStages());
        });
    }

    [Theory]
    [InlineData(1, "0.0 0.1 0.2 0.3 0.4 0.5 0.6")]
    [InlineData(2, "0.module.0 0.module.1 0.module.2 1.0 1.1 1.2 1.3")]
    [InlineData(3, "0.module.0 0.module.1 1.module.0 1.module.1 2.0 2.1 2.2")]
    [InlineData(7, "0.module.0 1.module.0 2.module.0 3.module.0 4.module.0 5.module.0 6.0")]
    public void Sequential_MakesRunsOfEqualLength(int segments, string names)
    {
        using var scope = NewDisposeScope();
        var layers = Truth.Functions(7, () => nn.Linear(6, 6));
        using var network = Recomputed.Sequential(layers, segments);
        var weights = network.state_dict().Keys.Where(key => key.EndsWith("weight", StringComparison.Ordinal));
        Assert.Equal(names.Split(' ').Select(name => $"{name}.weight"), weights);
        Assert.Equal(segments - 1, network.modules().OfType<Recomputed>().Count());
        var x = Truth.Normal(1, 5, 6).requires_grad_(true);
        Tensor[] leaves = [x, .. layers.SelectMany(layer => layer.parameters())];
        layers.Aggregate((Tensor)x, (state, layer) => layer.call(state)).pow(2).sum().backward();
        var truth = Truth.TakeGradients(leaves);
        network.call(x).pow(2).sum().backward();
        Assert.All(Truth.TakeGradients(leaves).Zip(truth), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-13));
    }

    [Fact]
    public void Sequential_PassesItsOptionsOn()
    {
        var options = new RecomputedOptions { Execution = StageExecution.Callback, Stored = true };
        using var network = Recomputed.Sequential([nn.Linear(6, 6), nn.Linear(6, 6)], 2, options);
        Assert.Equal(options, ((Recomputed)network.children().First()).Options);
    }

    [Fact]
    public void Sequential_ChecksItsArguments()
    {
        Assert.Throws<ArgumentNullException>("layers", () => Recomputed.Sequential(null!, 1));
        Assert.Throws<ArgumentException>("layers", () => Recomputed.Sequential([], 1));
        var missing = Assert.Throws<ArgumentException>("layers", () => Recomputed.Sequential([nn.Tanh(), null!], 1));
        Assert.StartsWith("layer 1 is null", missing.Message);
        foreach (var segments in new[] { -1, 0, 3 })
        {
            var error = Assert.Throws<ArgumentOutOfRangeException>(
                "segments", () => Recomputed.Sequential([nn.Tanh(), nn.Tanh()], segments));
            Assert.StartsWith("expected 1 to 2, the number of layers", error.Message);
        }
    }

    /// <summary>
    /// 16 layers, each of which keeps one activation of 8 MiB. Stored, all are there at once, and with 4 runs 3 inputs and 4 activations;
    /// up to 4 more, gradients and what has just been computed, are on their way in both.
    /// </summary>
    [Theory]
    [InlineData(StageExecution.Auto)]
    [InlineData(StageExecution.Callback)]
    public void Sequential_HoldsTheActivationsOfOneRun(StageExecution execution)
    {
        Assert.InRange(Own(1), 16, 20);
        Assert.InRange(Own(4), 7, 11);

        double Own(int segments) =>
            double.Parse(TestProcess.Run("runs", $"{execution}", $"{segments}").Single(), CultureInfo.InvariantCulture) / (8 << 20);
    }

    /// <summary>A call leaves its output: no wrapper that the caller's scope would hold, no copy that autograd's node would.</summary>
    [Fact]
    public void ACall_MakesOneTensorForItsCaller()
    {
        using var scope = NewDisposeScope();
        using var recomputed = new Recomputed(Truth.LinearFunction(6));
        using var stage = new ResidualStage([Truth.LinearFunction(6)]);
        foreach (var module in new nn.Module<Tensor, Tensor>[] { recomputed, stage })
        {
            var x = rand(5, 6);
            module.call(x).sum().backward();
            module.call(x); // lets go of what that backward pass has returned
            var before = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
            var output = module.call(x);
            Assert.Equal(before + 1, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
            var sum = output.sum();
            sum.backward();
            module.call(x);
            Assert.Equal(before + 3, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        }
    }

    private static void LeavesNothing(int times, Action action)
    {
        Run(5);
        LeakTests.FinalizeOthers();
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        var objects = NativeRuntime.LiveObjects;
        Run(times);
        Assert.Equal(tensors, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        Assert.Equal(objects, NativeRuntime.LiveObjects);

        void Run(int count)
        {
            for (var i = 0; i < count; i++)
            {
                using var scope = NewDisposeScope();
                action();
            }
        }
    }
}
