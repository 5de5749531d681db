using System.Runtime.InteropServices;
using ResNetNodes.Stages.Engine;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class StageBackwardTests
{
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
        var error = Assert.Throws<ExternalException>(() => loss.backward());
        Assert.Equal("out of ideas", FirstLine(error));
        Assert.Contains(nameof(InvalidOperationException), error.Message);
        // Of the next failure TorchSharp tells the reason as ever.
        Assert.Contains("shapes cannot be multiplied", FirstLine(Assert.Throws<ExternalException>(() => rand(2, 3).mm(rand(2, 3)))));
    }

    [Theory]
    [InlineData("")]
    [InlineData("größer als 1 \u2265 0")]
    [InlineData("x is [2, 3], expected [2, 4]")]
    public void AnyMessage_IsTheFirstLine(string message)
    {
        using var scope = NewDisposeScope();
        var failing = new Failing { Message = message };
        failing.to(ScalarType.Float64);
        using var stage = ResidualStage.Shared(failing, 4);
        failing.FailAt = 6;
        var loss = stage.call(Truth.Normal(1, 3, 4)).sum();
        Assert.Equal(message, FirstLine(Assert.Throws<ExternalException>(() => loss.backward())));
    }

    /// <summary>Failures of the library itself are told like those of functions.</summary>
    [Fact]
    public void ARefusal_IsTheFirstLine()
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)));
        var loss = stage.call(Truth.Normal(1, 3, 4)).sum();
        Assert.StartsWith(
            "create_graph: the gradient of",
            Assert.Throws<ExternalException>(() => loss.backward(create_graph: true)).Message);
    }

    [Fact]
    public void Threads_TellTheirOwnMessages()
    {
        TestThreads.Run(4, thread =>
        {
            using var scope = NewDisposeScope();
            var failing = new Failing { Message = $"thread {thread}" };
            failing.to(ScalarType.Float64);
            using var stage = ResidualStage.Shared(failing, 2);
            for (var i = 0; i < 50; i++)
            {
                failing.FailAt = -1;
                var loss = stage.call(Truth.Normal(1, 3, 4)).sum();
                failing.FailNext();
                Assert.Equal($"thread {thread}", FirstLine(Assert.Throws<ExternalException>(() => loss.backward())));
            }
        });
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
        Assert.Equal("out of ideas", FirstLine(Assert.Throws<ExternalException>(() => loss.backward())));
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
        var error = Assert.Throws<ExternalException>(() => torch.autograd.grad([stage.call(x).sum()], [x, .. stage.parameters()]));
        Assert.Equal("out of ideas", FirstLine(error));
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

    /// <summary>
    /// An accelerator's way back runs on a thread of autograd's engine, where only an error of the engine's own ends the pass: whatever
    /// gradients are wanted, and whatever their shapes.
    /// </summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    [InlineData(false, true)]
    public void OnAnAccelerator_NoFailureLooksLikeASuccess(bool layers, bool inputWanted)
    {
        using var scope = NewDisposeScope();
        using var module = layers ? Truth.LinearFunction(4) : new Scaled();
        module.to(ScalarType.Float64);
        using var stage = ResidualStage.Shared(module, 2, new StageOptions { AccumulateGradientsInPlace = layers });
        Assert.Equal(layers ? StageExecution.Layers : StageExecution.Callback, stage.Execution);
        var x = Truth.Normal(1, 3, 4).requires_grad_(inputWanted);
        Assert.Contains("invalid gradient", Assert.Throws<ExternalException>(() => Failed().backward()).Message);
        Assert.Contains("changed", Assert.Throws<ResNetNodesException>(() => Failed().BackwardThroughStages()).Message);
        Assert.All(stage.parameters().Append(x), t => Assert.Null(t.grad));
        OnAccelerator(() => stage.call(x).sum()).BackwardThroughStages();
        var found = Truth.TakeGradients(stage.parameters());
        stage.call(x).sum().backward();
        var expected = Truth.TakeGradients(stage.parameters());
        Assert.All(found.Zip(expected), pair => Assert.Equal(0, Truth.RelativeError(pair.First, pair.Second)));

        // A parameter has changed since the forward pass.
        Tensor Failed()
        {
            var loss = OnAccelerator(() => stage.call(x).sum());
            using var guard = no_grad();
            stage.parameters().First().add_(1, alpha: 1);
            return loss;
        }
    }

    private static Tensor OnAccelerator(Func<Tensor> call)
    {
        StageCall.ActsAsOnAccelerator = true;
        try
        {
            return call();
        }
        finally
        {
            StageCall.ActsAsOnAccelerator = false;
        }
    }

    private static string FirstLine(Exception error) => error.Message.Split('\n')[0];

    private sealed class Failing : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear linear = nn.Linear(4, 4);
        private int calls;

        public Failing()
            : base(nameof(Failing)) => RegisterComponents();

        public int FailAt { get; set; } = -1;

        public string Message { get; init; } = "out of ideas";

        public void FailNext() => FailAt = calls + 1;

        public override Tensor forward(Tensor input)
        {
            if (++calls == FailAt)
            {
                throw new InvalidOperationException(Message);
            }

            return linear.call(input);
        }
    }

    /// <summary>Its only parameter is a number.</summary>
    private sealed class Scaled : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Parameter scale = new(tensor(0.5, ScalarType.Float64));

        public Scaled()
            : base(nameof(Scaled)) => RegisterComponents();

        public override Tensor forward(Tensor input) => input * scale;
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

        public override Tensor forward(Tensor input) => function(linear, input);
    }
}
