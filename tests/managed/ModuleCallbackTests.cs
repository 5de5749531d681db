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
}
