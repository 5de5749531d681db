using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class ConditionedStageTests
{
    [Fact]
    public void ExtraInputs_GetTheirGradientsSummedOverTheLayers()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        var functions = Enumerable.Range(0, 5).Select(_ => new Conditioned()).ToList();
        functions.ForEach(f => f.to(ScalarType.Float64));
        using var stage = new ConditionedStage(
            functions.Cast<nn.Module<Tensor, Tensor, Tensor, Tensor>>(),
            new StageOptions { Reconstruction = Reconstruction.Corrected(40) });
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        var condition = Truth.Normal(2, 6).requires_grad_(true);
        Tensor[] leaves = [x, condition, .. stage.parameters()];
        var y = x.alias();
        for (var n = 0; n < 5; n++)
        {
            y = y + (0.2 * functions[n].call(y, condition, tensor(n / 5.0, ScalarType.Float64)));
        }

        y.pow(2).sum().backward();
        var truth = Truth.TakeGradients(leaves);
        stage.call(x, condition).pow(2).sum().backward();
        foreach (var (gradient, expected) in Truth.TakeGradients(leaves).Zip(truth))
        {
            Assert.True(Truth.RelativeError(gradient, expected) < 1e-10);
        }
    }

    [Fact]
    public void SharedFunctionWithACondition_SumsBothGradients()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        var function = new Gated();
        function.to(ScalarType.Float64);
        using var stage = ConditionedStage.Shared(function, 4, new StageOptions { Reconstruction = Reconstruction.Corrected(40) });
        Tensor x = Truth.Normal(1, 3, 4).requires_grad_(true), c = Truth.Normal(2, 4).requires_grad_(true);
        Tensor[] leaves = [x, c, .. stage.parameters()];
        var y = x.alias();
        for (var n = 0; n < 4; n++)
        {
            y = y + (0.25 * function.call(y, c));
        }

        y.pow(2).sum().backward();
        var truth = Truth.TakeGradients(leaves);
        stage.call(x, c).pow(2).sum().backward();
        Assert.All(Truth.TakeGradients(leaves).Zip(truth), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-10));
        Assert.Contains("depth=4", stage.ToString());
        Assert.Equal(StageExecution.Callback, stage.Execution);
    }

    [Fact]
    public void Shared_WithADepth_IsItsDefinition()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        var function = new Conditioned();
        function.to(ScalarType.Float64);
        using var stage = ConditionedStage.Shared(function, 3, new StageOptions { StepSize = 0.5 });
        Tensor x = Truth.Normal(1, 4, 6), c = Truth.Normal(2, 6);
        var y = x;
        for (var n = 0; n < 3; n++)
        {
            y = y + (0.5 * function.call(y, c, tensor(n / 3.0, ScalarType.Float64)));
        }

        Assert.True(Truth.RelativeError(stage.call(x, c), y) < 1e-14);
    }

    [Fact]
    public void Report_TellsOfTheLastBackwardPass()
    {
        using var scope = NewDisposeScope();
        var function = new Gated();
        function.to(ScalarType.Float64);
        using var stage = ConditionedStage.Shared(function, 4, new StageOptions { Reconstruction = Reconstruction.Corrected(2) });
        Assert.Null(stage.LastReport);
        stage.call(Truth.Normal(1, 3, 4), Truth.Normal(2, 4)).sum().backward();
        StageReport report = stage.LastReport!;
        // Two iterations for each state, and the tape.
        Assert.Equal((4, 4 * 3), (report.Steps.Count, report.Evaluations));
        StepReport step = report.Steps[1];
        Assert.Equal((StateSource.Found, 3), (step.Source, step.Evaluations));
        Assert.InRange(step.Error!.Value, 1e-12, report.Error!.Value);
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<ArgumentNullException>(() => ConditionedStage.Shared((nn.Module<Tensor, Tensor, Tensor>)null!, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => ConditionedStage.Shared(new Gated(), 0));
        Assert.Throws<ArgumentException>(() => new ConditionedStage(Array.Empty<nn.Module<Tensor, Tensor, Tensor>>()));
        Assert.Contains(
            "extra inputs",
            Assert.Throws<ArgumentException>(
                () => ConditionedStage.Shared(new Gated(), 3, new StageOptions { Execution = StageExecution.Layers })).Message);
        using var stage = ConditionedStage.Shared(new Gated(), 3);
        Assert.Equal("its functions take extra inputs", stage.ExecutionReason);
        Assert.Throws<ArgumentNullException>(() => stage.call(rand(2, 4), null!));
        Assert.Throws<ArgumentException>(() => stage.Options = stage.Options with { CudaGraphs = true });
        Assert.False(stage.Options.CudaGraphs);
        stage.Dispose();
        Assert.Throws<ObjectDisposedException>(() => stage.call(rand(2, 4), rand(4)));
    }

    private sealed class Conditioned : nn.Module<Tensor, Tensor, Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(6, 6);

        public Conditioned()
            : base(nameof(Conditioned)) => RegisterComponents();

        public override Tensor forward(Tensor input1, Tensor input2, Tensor input3) => tanh(linear.call(input1) + input2) * (1 + input3);
    }

    private sealed class Gated : nn.Module<Tensor, Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(4, 4);

        public Gated()
            : base(nameof(Gated)) => RegisterComponents();

        public override Tensor forward(Tensor input1, Tensor input2) => tanh(linear.call(input1) * input2);
    }
}
