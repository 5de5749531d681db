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
    public void InferenceTensors_MayBeEvaluated()
    {
        using var scope = NewDisposeScope();
        Tensor x, condition;
        using (inference_mode())
        {
            (x, condition) = (Truth.Normal(1, 4, 6), Truth.Normal(2, 4, 6));
        }

        var function = new ConditionedFunction();
        using var stage = ConditionedStage.Shared(function, 2);
        foreach (var inside in new[] { true, false })
        {
            using var mode = inside ? inference_mode() : no_grad();
            for (var time = 0; time < 2; time++)
            {
                var y = x + (0.5 * function.call(x, condition));
                y = y + (0.5 * function.call(y, condition));
                Assert.True(Truth.RelativeError(stage.call(x, condition), y) < 1e-14);
            }
        }

        // As stock modules, which would have to save it.
        Assert.Contains("nference tensor", Assert.ThrowsAny<Exception>(() => stage.call(x, condition)).Message);
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

}
