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
        using var model = new TinyResNet(new TinyResNetOptions
        {
            Depth = 3,
            Planes = 4,
            Seed = 1,
            Stage = new StageOptions { Execution = execution, ComputeType = computeType }
        });
        using var optimizer = optim.SGD(model.parameters(), 0.01, momentum: 0.9);
        using var loss = nn.CrossEntropyLoss();
        using var images = rand(8, 3, 32, 32);
        using var labels = randint(0, 10, 8, ScalarType.Int64);
        Train(5);
        FinalizeOthers();
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        var objects = NativeRuntime.LiveObjects;
        Train(50);
        Assert.Equal(tensors, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        Assert.Equal(objects, NativeRuntime.LiveObjects);

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

    /// <summary>
    /// Memory that no count sees, such as tensors that native code has lost. A state takes 100 KB here, a step makes dozens, so that a
    /// leak of one a step would show as 100 KB a step.
    /// </summary>
    [Theory]
    [InlineData(StageExecution.Layers, ComputeType.SameAsState)]
    [InlineData(StageExecution.Layers, ComputeType.BFloat16)]
    [InlineData(StageExecution.Callback, ComputeType.SameAsState)]
    public void Training_LeavesNoMemory(StageExecution execution, ComputeType computeType) =>
        StaysFlat(32 * 8 * 10 * 10 * sizeof(float) / 4.0, 12, 40, "training", $"{execution}", $"{computeType}");

    /// <summary>A tensor's handle and what it points to take some 300 bytes, without its values.</summary>
    [Theory]
    [InlineData(StageExecution.Layers, 40_000)]
    [InlineData(StageExecution.Callback, 8_000)]
    public void Calls_LeaveNoMemory(StageExecution execution, int calls) => StaysFlat(75, 12, calls, "calls", $"{execution}");

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

    /// <summary>
    /// Autograd's engine runs an accelerator's way back on a thread of its own, which has no dispose scope: what is left to the garbage
    /// collector there is of a state's size.
    /// </summary>
    [Theory]
    [InlineData(StageExecution.Layers, false)]
    [InlineData(StageExecution.Layers, true)]
    [InlineData(StageExecution.Callback, false)]
    [InlineData(StageExecution.Callback, true)]
    public void AWayBackWithoutADisposeScope_LeavesNoTensors(StageExecution execution, bool fails) => TestThreads.Run(1, _ =>
    {
        using var linear = nn.Linear(4, 4);
        using var stage = ResidualStage.Shared(linear, 2, new StageOptions { Execution = execution });
        using var x = rand(3, 4);
        Run(5);
        FinalizeOthers();
        var tensors = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        Run(20);
        Assert.Equal(tensors, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);

        void Run(int times)
        {
            for (var i = 0; i < times; i++)
            {
                using var y = stage.call(x);
                using var loss = y.sum();
                if (fails)
                {
                    using var guard = no_grad();
                    linear.weight!.mul_(2);
                    Assert.Throws<ResNetNodesException>(() => loss.BackwardThroughStages());
                }
                else
                {
                    loss.backward();
                }
            }
        }
    });

    /// <summary>What earlier tests left to their finalizers must not be counted; a second round takes what the first let go of.</summary>
    internal static void FinalizeOthers()
    {
        for (var round = 0; round < 2; round++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    // The slope of resident memory over the steps, in a process of its own.
    private static void StaysFlat(double bytesAStep, int parts, int steps, params string[] arguments)
    {
        const int warmUp = 4;
        var resident = TestProcess.Run([.. arguments, $"{parts}", $"{steps}"]).Select(long.Parse).Skip(warmUp).ToList();
        Assert.Equal(parts - warmUp, resident.Count);
        var (x, y) = ((resident.Count - 1) / 2.0, resident.Average());
        var slope = resident.Select((bytes, i) => (i - x) * (bytes - y)).Sum() / resident.Select((_, i) => (i - x) * (i - x)).Sum() / steps;
        Assert.True(slope < bytesAStep, $"{slope:0.0} bytes a step more; resident: {string.Join(", ", resident)}");
    }

    private sealed class Failing(nn.Module<Tensor, Tensor> inner, Func<bool> fails) : nn.Module<Tensor, Tensor>(nameof(Failing))
    {
        public override Tensor forward(Tensor input) => fails() ? throw new InvalidOperationException("failed") : inner.call(input);
    }
}
