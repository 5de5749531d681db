using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class ModuleCallbackTests
{
    [Fact]
    public void Dropout_IsTheSameOnTheWayBack()
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(6, () => nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Tanh()));
        using var stage = new ResidualStage(functions, new StageOptions { Reconstruction = Reconstruction.Backprop });
        var x = Truth.Normal(1, 5, 8).requires_grad_(true);
        Tensor[] leaves = [x, .. stage.parameters()];
        random.manual_seed(11);
        var stored = stage.call(x);
        stored.pow(2).sum().backward();
        var truth = Truth.TakeGradients(leaves);
        var after = rand(1).item<float>();
        stage.Options = stage.Options with { Reconstruction = Reconstruction.Corrected(40) };
        random.manual_seed(11);
        var found = stage.call(x);
        found.pow(2).sum().backward();
        Assert.Equal(after, rand(1).item<float>());
        Assert.Equal(0.0, (found - stored).abs().max().item<double>());
        foreach (var (gradient, expected) in Truth.TakeGradients(leaves).Zip(truth))
        {
            Assert.True(Truth.RelativeError(gradient, expected) < 1e-10);
        }
    }

    [Fact]
    public void ExtraInputs_GetTheirGradientsSummedOverTheLayers()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        var functions = Enumerable.Range(0, 5).Select(_ => new Conditioned()).ToList();
        functions.ForEach(f => f.to(ScalarType.Float64));
        using var stage = new ConditionedStage(functions.Cast<nn.Module<Tensor, Tensor, Tensor, Tensor>>(), new StageOptions { Reconstruction = Reconstruction.Corrected(40) });
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

    [Theory]
    [InlineData(1)]
    [InlineData(6)]
    public void AnException_ArrivesAsItselfAndLeavesTheStageUsable(int failingCall)
    {
        using var scope = NewDisposeScope();
        var failing = new Failing();
        failing.to(ScalarType.Float64);
        using var stage = ResidualStage.Shared(failing, 4);
        failing.FailAt = failingCall;
        var error = Assert.Throws<InvalidOperationException>(() => stage.call(Truth.Normal(1, 3, 4)).sum().BackwardThroughStages());
        Assert.Equal("out of ideas", error.Message);
        Assert.Contains(nameof(Failing), error.StackTrace);
        failing.FailAt = -1;
        stage.call(Truth.Normal(1, 3, 4)).sum().backward();
        Assert.All(stage.parameters(), p => Assert.NotNull(p.grad));
    }

    [Fact]
    public void AnException_ReachesPlainBackwardWithItsMessage()
    {
        using var scope = NewDisposeScope();
        var failing = new Failing();
        failing.to(ScalarType.Float64);
        using var stage = ResidualStage.Shared(failing, 4);
        failing.FailAt = 6;
        var loss = stage.call(Truth.Normal(1, 3, 4)).sum();
        var error = Assert.ThrowsAny<Exception>(() => loss.backward());
        Assert.Contains("out of ideas", error.Message);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void RandomNumbers_AreThoseOfTheForwardPassInBothModes(bool training)
    {
        using var scope = NewDisposeScope();
        var masks = new List<Tensor>();
        var noisy = new Custom((linear, x) =>
        {
            // As Monte Carlo dropout: random in evaluation mode too.
            var mask = nn.functional.dropout(ones(x.shape, x.dtype), 0.5, training: true);
            masks.Add(mask.clone().DetachFromDisposeScope());
            return tanh(linear.call(x)) * mask;
        });
        using var stage = ResidualStage.Shared(noisy, 4, new StageOptions { Reconstruction = Reconstruction.Corrected(40) });
        stage.train(training);
        var x = Truth.Normal(1, 3, 4).requires_grad_(true);
        Tensor[] leaves = [x, .. stage.parameters()];
        stage.call(x).pow(2).sum().backward();
        var found = Truth.TakeGradients(leaves);
        var y = x.alias();
        for (var n = 0; n < 4; n++)
        {
            y = y + (0.25 * tanh(noisy.Linear.call(y)) * masks[n]);
        }

        y.pow(2).sum().backward();
        Assert.All(found.Zip(Truth.TakeGradients(leaves)), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-10));
        masks.ForEach(mask => mask.Dispose());
    }

    [Fact]
    public void BuffersOfAPartInTrainingMode_ChangeOnce()
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(3, () => Truth.TinyFunction(3));
        using var stage = new ResidualStage(functions, new StageOptions { Execution = StageExecution.Callback });
        stage.eval();
        functions.ForEach(f => f.train());
        stage.call(Truth.Normal(1, 2, 3, 5, 5)).sum().backward();
        var counts = stage.modules().OfType<TorchSharp.Modules.BatchNorm2d>().Select(norm => norm.num_batches_tracked!.item<long>());
        Assert.All(counts, count => Assert.Equal(1, count));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void DepthAlone_IsAnExtraInput(bool shared)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        var functions = Enumerable.Range(0, shared ? 1 : 4).Select(_ => new Deep()).ToList();
        functions.ForEach(f => f.to(ScalarType.Float64));
        var options = new StageOptions { Reconstruction = Reconstruction.Corrected(40) };
        using var stage = shared ? ResidualStage.SharedWithDepth(functions[0], 4, options) : ResidualStage.WithDepth(functions, options);
        var x = Truth.Normal(1, 3, 4).requires_grad_(true);
        Tensor[] leaves = [x, .. stage.parameters()];
        var y = x.alias();
        for (var n = 0; n < 4; n++)
        {
            y = y + (0.25 * functions[shared ? 0 : n].call(y, tensor(n / 4.0, ScalarType.Float64)));
        }

        y.pow(2).sum().backward();
        var truth = Truth.TakeGradients(leaves);
        stage.call(x).pow(2).sum().backward();
        Assert.All(Truth.TakeGradients(leaves).Zip(truth), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-10));
        Assert.Equal("its functions take the depth", stage.ExecutionReason);
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
    public void AnException_BehindAnotherStageIsNotSwallowed()
    {
        using var scope = NewDisposeScope();
        using var first = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)));
        var failing = new Failing();
        failing.to(ScalarType.Float64);
        using var second = ResidualStage.Shared(failing, 4);
        failing.FailAt = 6;
        var loss = second.call(first.call(Truth.Normal(1, 3, 4))).sum();
        Assert.Contains("out of ideas", Assert.ThrowsAny<Exception>(() => loss.backward()).Message);
        failing.FailAt = -1;
        second.call(first.call(Truth.Normal(1, 3, 4))).sum().backward();
        Assert.NotNull(first.LastReport);
    }

    [Fact]
    public void AnException_ReachesAutogradGrad()
    {
        using var scope = NewDisposeScope();
        var failing = new Failing();
        failing.to(ScalarType.Float64);
        using var stage = ResidualStage.Shared(failing, 4);
        failing.FailAt = 6;
        var x = Truth.Normal(1, 3, 4).requires_grad_(true);
        var error = Assert.ThrowsAny<Exception>(() => torch.autograd.grad([stage.call(x).sum()], [x, .. stage.parameters()]));
        Assert.Contains("out of ideas", error.Message);
    }

    [Fact]
    public void AnErrorOfAutogradInsideOfAFunction_IsAnException()
    {
        using var scope = NewDisposeScope();
        using var stage = ResidualStage.Shared(
            new Custom((linear, x) =>
            {
                var needed = sigmoid(linear.call(x));
                var product = needed * 1;
                needed.mul_(2);
                return product + needed;
            }),
            4);
        var error = Assert.ThrowsAny<Exception>(() => stage.call(Truth.Normal(1, 3, 4)).sum().BackwardThroughStages());
        Assert.Contains("inplace operation", error.Message);
    }

    [Fact]
    public void AStageInsideOfAFunction_TellsItsOwnException()
    {
        using var scope = NewDisposeScope();
        var failing = new Failing();
        failing.to(ScalarType.Float64);
        using var inner = ResidualStage.Shared(failing, 1, new StageOptions { Reconstruction = Reconstruction.Inverse });
        using var outer = ResidualStage.Shared(inner, 1, new StageOptions { Reconstruction = Reconstruction.Inverse });
        // Calls: forward; outer predicts; outer's tape; then the inner stage's own way back.
        failing.FailAt = 4;
        var loss = outer.call(Truth.Normal(1, 3, 4)).sum();
        Assert.Equal("out of ideas", Assert.Throws<InvalidOperationException>(loss.BackwardThroughStages).Message);
        failing.FailAt = -1;
        outer.call(Truth.Normal(1, 3, 4)).sum().BackwardThroughStages();
    }

    private sealed class Conditioned : nn.Module<Tensor, Tensor, Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(6, 6);

        public Conditioned()
            : base(nameof(Conditioned)) => RegisterComponents();

        public override Tensor forward(Tensor input1, Tensor input2, Tensor input3) => tanh(linear.call(input1) + input2) * (1 + input3);
    }

    private sealed class Failing : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(4, 4);
        private int calls;

        public Failing()
            : base(nameof(Failing)) => RegisterComponents();

        public int FailAt { get; set; } = -1;

        public override Tensor forward(Tensor input)
        {
            if (++calls == FailAt)
            {
                throw new InvalidOperationException("out of ideas");
            }

            return linear.call(input);
        }
    }

    private sealed class Custom : nn.Module<Tensor, Tensor>
    {
        private readonly Func<TorchSharp.Modules.Linear, Tensor, Tensor> function;
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(4, 4);

        public Custom(Func<TorchSharp.Modules.Linear, Tensor, Tensor> function)
            : base(nameof(Custom))
        {
            this.function = function;
            RegisterComponents();
            this.to(ScalarType.Float64);
        }

        public TorchSharp.Modules.Linear Linear => linear;

        public override Tensor forward(Tensor input) => function(linear, input);
    }

    private sealed class Deep : nn.Module<Tensor, Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(4, 4);

        public Deep()
            : base(nameof(Deep)) => RegisterComponents();

        public override Tensor forward(Tensor input1, Tensor input2) => tanh(linear.call(input1)) * (1 + input2);
    }

    private sealed class Gated : nn.Module<Tensor, Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(4, 4);

        public Gated()
            : base(nameof(Gated)) => RegisterComponents();

        public override Tensor forward(Tensor input1, Tensor input2) => tanh(linear.call(input1) * input2);
    }
}
