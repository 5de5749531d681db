using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Gradients of what occurs more than once, or stands outside of the stage, are complete.</summary>
public sealed class GradientSumTests
{
    private static readonly Dictionary<string, Func<List<nn.Module<Tensor, Tensor>>>> Repeats = new()
    {
        ["a function listed three times"] = () => Repeated(3, nn.Sequential(nn.Linear(6, 6, dtype: ScalarType.Float64), nn.Tanh())),
        ["two functions share a weight"] = () =>
        {
            var (a, b) = (nn.Linear(6, 6, dtype: ScalarType.Float64), nn.Linear(6, 6, dtype: ScalarType.Float64));
            b.weight = a.weight;
            return [nn.Sequential(a, nn.Tanh()), nn.Sequential(b, nn.Tanh())];
        },
        ["two layers of a function share a weight"] = () =>
        {
            var (a, b) = (nn.Linear(6, 6, dtype: ScalarType.Float64), nn.Linear(6, 6, dtype: ScalarType.Float64));
            b.weight = a.weight;
            return [nn.Sequential(a, nn.Tanh(), b)];
        },
        ["a layer used twice in a function"] = () =>
        {
            var a = nn.Linear(6, 6, dtype: ScalarType.Float64);
            return [nn.Sequential(a, nn.Tanh(), a), nn.Sequential(a, nn.ReLU())];
        },
    };

    public static TheoryData<string, StageExecution, bool, bool> Products()
    {
        var data = new TheoryData<string, StageExecution, bool, bool>();
        foreach (var name in Repeats.Keys)
        {
            foreach (var execution in new[] { StageExecution.Layers, StageExecution.Callback })
            {
                foreach (var flags in new[] { (false, false), (true, false), (true, true) })
                {
                    data.Add(name, execution, flags.Item1, flags.Item2);
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void ParametersThatOccurTwice_GetTheSum(string name, StageExecution execution, bool inPlace, bool hasGradient)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var functions = Repeats[name]();
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        var parameters = functions.SelectMany(f => f.parameters()).DistinctBy(p => p.Handle).Cast<Tensor>().ToList();
        Truth.Forward(functions, functions.Count, Solver.Euler, x).pow(2).sum().backward();
        var truth = Truth.TakeGradients([x, .. parameters]);
        if (hasGradient)
        {
            parameters.ForEach(p => p.grad = ones_like(p));
        }

        var options = Truth.Options("corrected:40") with { Execution = execution, AccumulateGradientsInPlace = inPlace };
        using var stage = new ResidualStage(functions, options);
        stage.call(x).pow(2).sum().backward();
        var found = Truth.TakeGradients([x, .. parameters]);
        for (var i = 0; i < found.Count; i++)
        {
            var expected = truth[i] + (hasGradient && i > 0 ? 1 : 0);
            Assert.True(Truth.RelativeError(found[i], expected) < 1e-10);
        }
    }

    [Theory]
    [InlineData(StageExecution.Layers, true)]
    [InlineData(StageExecution.Layers, false)]
    [InlineData(StageExecution.Callback, true)]
    public void AutogradGrad_GivesTheGradientsOfParametersAndLeavesTheirsAlone(StageExecution execution, bool inPlace)
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(3, () => Truth.LinearFunction(6));
        var options = Truth.Options("corrected:40") with { Execution = execution, AccumulateGradientsInPlace = inPlace };
        using var stage = new ResidualStage(functions, options);
        foreach (var needs in new[] { false, true })
        {
            var x = Truth.Normal(1, 4, 6).requires_grad_(needs);
            List<Tensor> leaves = needs ? [x, .. stage.parameters()] : [.. stage.parameters()];
            var truth = autograd.grad([Truth.Forward(functions, 3, Solver.Euler, x).pow(2).sum()], leaves);
            var found = autograd.grad([stage.call(x).pow(2).sum()], leaves);
            Assert.All(found.Zip(truth), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-10));
            var one = autograd.grad([stage.call(x).pow(2).sum()], [leaves[^1]]);
            Assert.True(Truth.RelativeError(one[0], truth[^1]) < 1e-10);
            Assert.All(leaves, leaf => Assert.Null(leaf.grad));
            // A backward pass that names its inputs gives those theirs, and nobody else any.
            autograd.backward([stage.call(x).pow(2).sum()], inputs: [leaves[^1]]);
            Assert.True(Truth.RelativeError(leaves[^1].grad!, truth[^1]) < 1e-10);
            Assert.All(leaves.SkipLast(1), leaf => Assert.Null(leaf.grad));
            leaves[^1].grad = null;
        }
    }

    [Theory]
    [InlineData("backprop")]
    [InlineData("corrected:40")]
    [InlineData("checkpoint")]
    public void TensorsThatAFunctionClosesOver_GetTheirGradients(string method)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var learned = Truth.Normal(2, 6).requires_grad_(true);
        var functions = Truth.Functions(3, () => new Closing(x => x * learned));
        using var stage = new ResidualStage(functions, new StageOptions { Reconstruction = Reconstruction.Parse(method) });
        foreach (var frozen in new[] { false, true })
        {
            functions.ForEach(f => f.parameters().ToList().ForEach(p => p.requires_grad_(!frozen)));
            var x = Truth.Normal(1, 4, 6).requires_grad_(true);
            Truth.Forward(functions, 3, Solver.Euler, x).pow(2).sum().backward();
            var truth = Truth.TakeGradients([x, learned, .. stage.parameters()]);
            stage.call(x).pow(2).sum().backward();
            Assert.All(
                Truth.TakeGradients([x, learned, .. stage.parameters()]).Zip(truth),
                pair => Assert.True((pair.First - pair.Second).norm().item<double>() < 1e-9));
            // Asked for x alone, it is left alone.
            autograd.grad([stage.call(x).pow(2).sum()], [x]);
            Assert.Null(learned.grad);
        }
    }

    [Fact]
    public void AClosedOverTensorAlone_IsNotLeftOutInSilence()
    {
        using var scope = NewDisposeScope();
        var learned = Truth.Normal(2, 6).requires_grad_(true);
        var functions = Truth.Functions(3, () => new Closing(x => x * learned));
        functions.ForEach(f => f.parameters().ToList().ForEach(p => p.requires_grad_(false)));
        using var stage = new ResidualStage(functions);
        var error = Assert.Throws<ResNetNodesException>(() => stage.call(Truth.Normal(1, 4, 6)));
        Assert.Contains("function 0 reads a tensor that needs a gradient", error.Message);
        using (no_grad())
        {
            stage.call(Truth.Normal(1, 4, 6));
        }
    }

    [Fact]
    public void AComputedTensorThatAFunctionClosesOver_IsRefusedByName()
    {
        using var scope = NewDisposeScope();
        var source = Truth.Normal(2, 6).requires_grad_(true);
        var computed = source.pow(3);
        using var stage = new ResidualStage(Truth.Functions(3, () => new Closing(x => x * computed)));
        var error = Assert.Throws<ResNetNodesException>(() => stage.call(Truth.Normal(1, 4, 6)).sum().BackwardThroughStages());
        Assert.Contains("reads a tensor that was computed outside of it", error.Message);
    }

    private static List<nn.Module<Tensor, Tensor>> Repeated(int times, nn.Module<Tensor, Tensor> function) =>
        [.. Enumerable.Repeat(function, times)];

    private sealed class Closing : nn.Module<Tensor, Tensor>
    {
        private readonly Linear linear = nn.Linear(6, 6);
        private readonly Func<Tensor, Tensor> then;

        public Closing(Func<Tensor, Tensor> then)
            : base(nameof(Closing))
        {
            this.then = then;
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => then(tanh(linear.call(input)));
    }
}
