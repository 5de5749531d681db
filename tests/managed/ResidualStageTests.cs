using System.Diagnostics;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class ResidualStageTests
{
    private static readonly StageOptions Exact = new() { Reconstruction = Reconstruction.Corrected(40) };

    public static TheoryData<string, bool, StageExecution, string, bool> Products()
    {
        var data = new TheoryData<string, bool, StageExecution, string, bool>();
        foreach (var solver in Solver.All.Select(solver => solver.Name))
        {
            foreach (var shared in new[] { false, true })
            {
                foreach (var execution in new[] { StageExecution.Layers, StageExecution.Callback })
                {
                    foreach (var method in new[] { "backprop", "checkpoint", "corrected:40", "adaptive:1E-10" })
                    {
                        data.Add(solver, shared, execution, method, true);
                        data.Add(solver, shared, execution, method, false);
                    }
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void Gradients_EqualThoseOfAutograd(string solverName, bool shared, StageExecution execution, string method, bool images)
    {
        using var scope = NewDisposeScope();
        var solver = Solver.Parse(solverName);
        const int depth = 8;
        var functions = Truth.Functions(shared ? 1 : depth, () => images ? Truth.TinyFunction(3) : Truth.LinearFunction(6));
        // Training statistics of a callback are those of the reconstructed state; iterated to the end they are the same.
        var options = new StageOptions { Solver = solver, Execution = execution, Reconstruction = Reconstruction.Parse(method) };
        using var stage = shared ? ResidualStage.Shared(functions[0], depth, options) : new ResidualStage(functions, options);
        Assert.Equal(execution, stage.Execution);
        var x = images ? Truth.Normal(1, 4, 3, 6, 6) : Truth.Normal(1, 7, 6);
        var weight = Truth.Normal(2, x.shape);
        Tensor[] leaves = [x.requires_grad_(true), .. stage.parameters()];

        var expected = Truth.Forward(functions, depth, solver, x);
        (expected * weight).sum().backward();
        var truth = Truth.TakeGradients(leaves);
        var found = stage.call(x);
        (found * weight).sum().backward();
        var gradients = Truth.TakeGradients(leaves);

        Assert.True(Truth.RelativeError(found, expected) < 1e-12);
        var all = cat([.. truth.Select(g => g.flatten())]).norm().item<double>();
        // Behind ReLU a gradient is off by up to the square root of the state's error.
        var bound = method.StartsWith("adaptive", StringComparison.Ordinal) ? 1e-5 : 1e-8;
        Assert.InRange(stage.LastReport!.Error!.Value, 0, method.StartsWith("adaptive", StringComparison.Ordinal) ? 1e-10 : 1e-8);
        for (var i = 0; i < truth.Count; i++)
        {
            // Relative to the whole gradient: a bias before batch normalization has a gradient of 0 and rounding alone.
            Assert.True((gradients[i] - truth[i]).norm().item<double>() < bound * all, $"gradient {i}");
        }
    }

    [Fact]
    public void Execution_CanBeAskedAndForced()
    {
        var known = Truth.Functions(2, () => Truth.LinearFunction(4));
        using var stage = new ResidualStage(known);
        Assert.Equal(StageExecution.Layers, stage.Execution);
        var unknown = Truth.Functions(2, () => nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()));
        using var other = new ResidualStage(unknown);
        Assert.Equal(StageExecution.Callback, other.Execution);
        Assert.Contains("Sigmoid", other.ExecutionReason);
        var error = Assert.Throws<ArgumentException>(
            () => new ResidualStage(unknown, new StageOptions { Execution = StageExecution.Layers }));
        Assert.Contains("Sigmoid", error.Message);
    }

    [Theory]
    [InlineData(StageExecution.Layers, false)]
    [InlineData(StageExecution.Layers, true)]
    [InlineData(StageExecution.Callback, false)]
    public void Backward_FrozenParametersGetNoGradient(StageExecution execution, bool inPlace)
    {
        using var scope = NewDisposeScope();
        var options = Exact with { Execution = execution, AccumulateGradientsInPlace = inPlace };
        using var stage = new ResidualStage(Truth.Functions(3, () => Truth.LinearFunction(4)), options);
        var parameters = stage.parameters().ToList();
        stage.call(Truth.Normal(1, 5, 4)).sum().backward();
        var all = Truth.TakeGradients(parameters);
        for (var i = 0; i < parameters.Count; i += 2)
        {
            parameters[i].requires_grad = false;
        }

        stage.call(Truth.Normal(1, 5, 4)).sum().backward();
        for (var i = 0; i < parameters.Count; i++)
        {
            Assert.Equal(i % 2 == 0, parameters[i].grad is null);
            if (i % 2 == 1)
            {
                Assert.True(Truth.RelativeError(parameters[i].grad!, all[i]) < 1e-12);
            }
        }
    }

    [Theory]
    [InlineData(StageExecution.Layers, false)]
    [InlineData(StageExecution.Layers, true)]
    [InlineData(StageExecution.Callback, false)]
    public void Backward_SeveralPassesAddUp(StageExecution execution, bool inPlace)
    {
        using var scope = NewDisposeScope();
        var options = Exact with { Execution = execution, AccumulateGradientsInPlace = inPlace };
        using var stage = new ResidualStage(Truth.Functions(3, () => Truth.LinearFunction(4)), options);
        stage.call(Truth.Normal(1, 5, 4)).sum().backward();
        var once = stage.parameters().Select(p => p.grad!.clone()).ToList();
        stage.call(Truth.Normal(1, 5, 4)).sum().backward();
        foreach (var (parameter, gradient) in stage.parameters().Zip(once))
        {
            Assert.True(Truth.RelativeError(parameter.grad!, gradient * 2) < 1e-12);
        }
    }

    [Fact]
    public void Backward_GradientsPastAutogradAreThoseOfAutograd()
    {
        using var scope = NewDisposeScope();
        using var first = new ResidualStage(Truth.Functions(3, () => Truth.TinyFunction(6)), Exact);
        using var second = new ResidualStage(Truth.Functions(2, () => Truth.TinyFunction(6)), Exact);
        var stages = nn.Sequential(first, second);
        var x = Truth.Normal(1, 2, 6, 5, 5).requires_grad_();
        foreach (var (gradient, truth) in Pass(inPlace: true).Zip(Pass(inPlace: false)))
        {
            Assert.Equal(truth.stride(), gradient.stride());
            Assert.True(Truth.RelativeError(gradient, truth) < 1e-12);
        }

        List<Tensor> Pass(bool inPlace)
        {
            first.Options = second.Options = Exact with { AccumulateGradientsInPlace = inPlace };
            stages.call(x).pow(2).sum().backward();
            return Truth.TakeGradients(stages.parameters().Append(x));
        }
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void Backward_ASecondPassThroughTheSameForwardIsRefused(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), Exact with { Execution = execution });
        var loss = stage.call(Truth.Normal(1, 5, 4)).sum();
        loss.backward(retain_graph: true);
        var error = Assert.ThrowsAny<Exception>(() => loss.backward(retain_graph: true));
        Assert.Contains("second backward pass", error.Message);
        Assert.Throws<ResNetNodesException>(loss.BackwardThroughStages);
        stage.call(Truth.Normal(1, 5, 4)).sum().backward();
    }

    [Fact]
    public void Backward_AnOutputChangedInPlaceIsRefused()
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)));
        var output = stage.call(Truth.Normal(1, 5, 4));
        var loss = output.mul_(2).sum();
        var error = Assert.ThrowsAny<Exception>(() => loss.backward());
        Assert.Contains("the output was changed in place since the forward pass", error.Message);
    }

    [Fact]
    public void Forward_WithoutGradientsKeepsNothing()
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.TinyFunction(3)));
        LeakTests.FinalizeOthers();
        var before = NativeRuntime.LiveObjects;
        using (no_grad())
        {
            var output = stage.call(Truth.Normal(1, 2, 3, 5, 5));
            Assert.False(output.requires_grad);
        }

        Assert.Equal(before, NativeRuntime.LiveObjects);
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void TrainingStep_ChangesBuffersAsTheModulesDo(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        foreach (var solver in Solver.All)
        {
            var layers = Truth.Functions(4, () => Truth.TinyFunction(3));
            var plain = Truth.Functions(4, () => Truth.TinyFunction(3));
            using var stage = new ResidualStage(layers, new StageOptions { Solver = solver, Execution = execution });
            var x = Truth.Normal(1, 2, 3, 5, 5);
            stage.call(x).sum().backward();
            Truth.Forward(plain, 4, solver, x);
            foreach (var (a, b) in layers.Zip(plain).SelectMany(p => p.First.buffers().Zip(p.Second.buffers())))
            {
                Assert.True((a - b).abs().max().to(ScalarType.Float64).item<double>() < 1e-12);
            }
        }
    }

    [Fact]
    public void EvaluationMode_UsesRunningStatistics()
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(3, () => Truth.TinyFunction(3));
        using var stage = new ResidualStage(functions);
        var x = Truth.Normal(1, 2, 3, 5, 5);
        stage.call(x).Dispose();
        stage.eval();
        Assert.True(Truth.RelativeError(stage.call(x), Truth.Forward(functions, 3, Solver.Euler, x)) < 1e-12);
    }

    [Fact]
    public void Modules_SaveLoadConvertAndOptimizeAsUsual()
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.TinyFunction(3)));
        using var copy = new ResidualStage(Truth.Functions(2, () => Truth.TinyFunction(3)));
        foreach (var p in copy.parameters())
        {
            nn.init.normal_(p);
        }

        copy.load_state_dict(stage.state_dict());
        var x = Truth.Normal(1, 2, 3, 5, 5);
        Assert.Equal(0.0, (stage.call(x) - copy.call(x)).abs().max().item<double>());
        stage.to(ScalarType.Float32);
        var single = x.to(ScalarType.Float32);
        var optimizer = optim.SGD(stage.parameters(), 0.5, momentum: 0.9);
        var losses = new List<float>();
        for (var i = 0; i < 10; i++)
        {
            optimizer.zero_grad();
            var loss = stage.call(single).pow(2).mean();
            loss.backward();
            optimizer.step();
            losses.Add(loss.item<float>());
        }

        Assert.True(losses[^1] < losses[0]);
        var error = Assert.Throws<ResNetNodesException>(() => stage.call(x));
        Assert.Contains("float64", error.Message);
        Assert.Contains("depth=2", stage.ToString());
    }

    /// <summary>Here without a GPU: what is refused, and where.</summary>

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentException>(() => new ResidualStage([]));
        Assert.Throws<ArgumentException>(
            () => new ResidualStage(Truth.Functions(1, () => Truth.LinearFunction(4)), new StageOptions { Solver = Solver.Heun }));
        Assert.Throws<ArgumentException>(
            () => new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), new StageOptions { StepSize = -1 }));
        var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)));
        Assert.Throws<ArgumentNullException>(() => stage.forward(null!));
        var error = Assert.Throws<ResNetNodesException>(() => stage.forward(Truth.Normal(1, 5, 3)));
        Assert.Contains("[5, 3]", error.Message);
        stage.Dispose();
        Assert.Throws<ObjectDisposedException>(() => stage.forward(Truth.Normal(1, 5, 4)));
    }

    /// <summary>The engine's own clock runs inside of the caller's.</summary>
    [Theory]
    [InlineData(StageExecution.Layers, "adaptive")]
    [InlineData(StageExecution.Layers, "backprop")]
    [InlineData(StageExecution.Callback, "checkpoint")]
    public void Report_HasTheEnginesSecondsOfBothPasses(StageExecution execution, string reconstruction)
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(
            Truth.Functions(4, () => Truth.TinyFunction(3)),
            new StageOptions { Execution = execution, Reconstruction = Reconstruction.Parse(reconstruction) });
        var start = Stopwatch.GetTimestamp();
        var y = stage.call(Truth.Normal(1, 4, 3, 5, 5));
        var forward = Stopwatch.GetElapsedTime(start).TotalSeconds;
        y.sum().backward();
        var all = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var report = stage.LastReport!;
        Assert.InRange(report.ForwardSeconds, double.Epsilon, forward);
        Assert.InRange(report.BackwardSeconds, double.Epsilon, all - report.ForwardSeconds);
    }

    [Theory]
    [InlineData(StageExecution.Layers, true)]
    [InlineData(StageExecution.Layers, false)]
    [InlineData(StageExecution.Callback, true)]
    [InlineData(StageExecution.Callback, false)]
    public void Gradients_OfTwoForwardPassesAtOnce_EqualThoseOfAutograd(StageExecution execution, bool training)
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(4, () => Truth.TinyFunction(3));
        using var stage = new ResidualStage(
            functions, new StageOptions { Execution = execution, Reconstruction = Reconstruction.Backprop });
        stage.train(training);
        Tensor x = Truth.Normal(1, 4, 3, 5, 5).requires_grad_(true), y = Truth.Normal(2, 4, 3, 5, 5).requires_grad_(true);
        Tensor[] leaves = [x, y, .. stage.parameters()];
        var expected = torch.autograd.grad([Loss(t => Truth.Forward(functions, 4, Solver.Euler, t))], leaves);
        var found = torch.autograd.grad([Loss(stage.call)], leaves);
        var all = cat([.. expected.Select(g => g.flatten())]).norm().item<double>();
        Assert.All(found.Zip(expected), pair => Assert.True((pair.First - pair.Second).norm().item<double>() < 1e-12 * all));

        Tensor Loss(Func<Tensor, Tensor> forward) => forward(x).pow(2).sum() * forward(y).pow(3).sum();
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void AFunctionListedTwice_GetsTheSumOfItsGradients(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        var two = Truth.Functions(2, () => Truth.LinearFunction(6));
        nn.Module<Tensor, Tensor>[] functions = [two[0], two[1], two[0], two[0]];
        using var stage = new ResidualStage(functions, Exact with { Execution = execution });
        var x = Truth.Normal(1, 3, 6);
        Tensor[] leaves = [.. two.SelectMany(f => f.parameters())];
        stage.call(x).pow(2).sum().backward();
        var found = Truth.TakeGradients(leaves);
        Truth.Forward(functions, 4, Solver.Euler, x).pow(2).sum().backward();
        Assert.All(found.Zip(Truth.TakeGradients(leaves)), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-10));
    }

    [Fact]
    public void Backward_OfADisposedStageIsRefused()
    {
        using var scope = NewDisposeScope();
        var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)));
        var loss = stage.call(Truth.Normal(1, 3, 4)).sum();
        stage.Dispose();
        Assert.Throws<ObjectDisposedException>(loss.BackwardThroughStages);
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void SecondDerivatives_AreRefused(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), Exact with { Execution = execution });
        var x = Truth.Normal(1, 3, 4).requires_grad_(true);
        var error = Assert.ThrowsAny<Exception>(() => torch.autograd.grad([stage.call(x).pow(2).sum()], [x], create_graph: true));
        Assert.Contains("create_graph", error.Message);
    }
}
