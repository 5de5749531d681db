using ResNetNodes.Interop;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class InteropTests
{
    [Fact]
    public void Calls_LeaveNoTensorsNorObjects()
    {
        using var functions = new FunctionList
        {
            new FunctionSpec { Layers = [new LayerSpec { Kind = LayerKind.Linear, InFeatures = 4, OutFeatures = 4 }] }
        };
        using var options = new Interop.StageOptions();
        using var stage = new Stage(functions, 1, options);
        using var x = rand(2, 4);
        using var weight = rand(4, 4);
        using var bias = rand(4);
        Call(20);
        LeakTests.FinalizeOthers();
        var objects = NativeRuntime.LiveObjects;
        var live = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        Call(1000);
        Assert.Equal(live, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        Assert.Equal(objects, NativeRuntime.LiveObjects);

        void Call(int times)
        {
            for (var i = 0; i < times; i++)
            {
                stage.Evaluate(x, [weight, bias], [], []).Dispose();
            }
        }
    }

    [Fact]
    public void Callbacks_LeaveNoTensorsNorObjects()
    {
        using var function = nn.Identity();
        using var stage = ResidualStage.Shared(function, 1000, new ResNetNodes.StageOptions { Execution = StageExecution.Callback });
        stage.eval();
        using var x = rand(2, 4);
        Call(2);
        LeakTests.FinalizeOthers();
        var objects = NativeRuntime.LiveObjects;
        var live = DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
        Call(10);
        Assert.Equal(live, DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount);
        Assert.Equal(objects, NativeRuntime.LiveObjects);

        void Call(int times)
        {
            for (var i = 0; i < times; i++)
            {
                stage.call(x).Dispose();
            }
        }
    }

    [Fact]
    public void Versions_CountChangesInPlace_AndInferenceTensorsAreRefusedByName()
    {
        using var scope = NewDisposeScope();
        var x = zeros(2, 2);
        var before = Functions.TensorVersion(x);
        x.add_(1);
        Assert.Equal(before + 1, Functions.TensorVersion(x));
        Tensor weight;
        using (inference_mode())
        {
            weight = zeros(2, 2);
        }

        using var functions = new FunctionList
        {
            new FunctionSpec { Layers = [new LayerSpec { Kind = LayerKind.Linear, InFeatures = 2, OutFeatures = 2, Bias = false }] }
        };
        using var options = new Interop.StageOptions();
        using var stage = new Stage(functions, 1, options);
        var error = Assert.Throws<ResNetNodesException>(() => stage.Forward(x, [weight], [], []));
        Assert.Equal(
            "parameters[0] (function 0, layer 0, weight): an inference tensor counts no changes in place; clone it outside of "
            + "inference mode",
            error.Message);
        stage.Evaluate(x, [weight], [], []);
    }

    [Fact]
    public void DisposedObjects_AndNullArguments_AreRefused()
    {
        using var functions = new FunctionList { new FunctionSpec { Layers = [new LayerSpec { Kind = LayerKind.Tanh }] } };
        using var options = new Interop.StageOptions();
        var stage = new Stage(functions, 1, options);
        Assert.Throws<ResNetNodesException>(() => stage.Evaluate(null!, [], [], []));
        Assert.Throws<ArgumentNullException>(() => stage.Evaluate(rand(2, 2), null!, [], []));
        Assert.Throws<ArgumentNullException>(() => stage.Backward(null!, rand(2, 2), [], []));
        stage.Dispose();
        Assert.Throws<ObjectDisposedException>(() => stage.Evaluate(rand(2, 2), [], [], []));
        using var gone = rand(2, 2);
        gone.Dispose();
        using var other = new Stage(functions, 1, options);
        Assert.ThrowsAny<InvalidOperationException>(() => other.Evaluate(gone, [], [], []));
    }
}
