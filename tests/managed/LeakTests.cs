using ResNetNodes.Networks;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class LeakTests
{
    [Theory]
    [InlineData(StageExecution.Layers, ComputeType.SameAsState)]
    [InlineData(StageExecution.Layers, ComputeType.BFloat16)]
    [InlineData(StageExecution.Callback, ComputeType.SameAsState)]
    public void Training_LeavesNoTensorsNorNativeObjects(StageExecution execution, ComputeType computeType)
    {
        using var model = new TinyResNet(new TinyResNetOptions { Depth = 3, Planes = 4, Seed = 1, Stage = new StageOptions { Execution = execution, ComputeType = computeType } });
        using var optimizer = optim.SGD(model.parameters(), 0.01, momentum: 0.9);
        using var loss = nn.CrossEntropyLoss();
        using var images = rand(8, 3, 32, 32);
        using var labels = randint(0, 10, 8, ScalarType.Int64);
        Train(5);
        FinalizeOthers();
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        var objects = NativeRuntime.LiveObjects;
        var memory = Resident();
        Train(200);
        Assert.Equal(tensors, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        Assert.Equal(objects, NativeRuntime.LiveObjects);
        // One state of this network is 100 KB and a step makes dozens: a leak of one a step would be 20 MB.
        Assert.True(Resident() - memory < 16 << 20, $"{(Resident() - memory) >> 20} MiB more");

        void Train(int steps)
        {
            for (var i = 0; i < steps; i++)
            {
                using var scope = NewDisposeScope();
                optimizer.zero_grad();
                loss.call(model.call(images), labels).backward();
                optimizer.step();
            }
        }
    }

    /// <param name="failingCall">In a forward pass of 2 calls, or on the way back.</param>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Exceptions_LeaveNoTensorsNorNativeObjects(int failingCall)
    {
        var calls = 0;
        using var linear = nn.Linear(4, 4);
        using var stage = ResidualStage.Shared(new Failing(linear, () => ++calls == failingCall), 2);
        using var x = rand(3, 4);
        Run(5);
        FinalizeOthers();
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        var objects = NativeRuntime.LiveObjects;
        Run(50);
        Assert.Equal(tensors, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        Assert.Equal(objects, NativeRuntime.LiveObjects);

        void Run(int times)
        {
            for (var i = 0; i < times; i++)
            {
                using var scope = NewDisposeScope();
                calls = 0;
                Assert.Throws<InvalidOperationException>(() => stage.call(x).sum().BackwardThroughStages());
            }
        }
    }

    /// <summary>What earlier tests left to their finalizers must not be counted.</summary>
    internal static void FinalizeOthers()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }

    private sealed class Failing(nn.Module<Tensor, Tensor> inner, Func<bool> fails) : nn.Module<Tensor, Tensor>(nameof(Failing))
    {
        public override Tensor forward(Tensor input) => fails() ? throw new InvalidOperationException("failed") : inner.call(input);
    }

    private static long Resident()
    {
        var line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmRSS", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture) * 1024;
    }
}
