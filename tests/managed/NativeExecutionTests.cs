using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Native layers compute what the modules that they stand for compute now, or are not chosen, and the stage says why.</summary>
public sealed class NativeExecutionTests
{
    private static readonly Dictionary<string, (Action<Sequential> Change, string Reason)> Changes = new()
    {
        ["momentum"] = (f => Norm(f).momentum = 0.9, ""),
        ["momentum 0"] = (f => Norm(f).momentum = 0, ""),
        ["no momentum"] = (f => Norm(f).momentum = null, "averages its statistics cumulatively"),
        ["eps"] = (f => Norm(f).eps = 0.3, ""),
        ["a part appended"] = (f => f.append(nn.Tanh()), ""),
        ["an unknown part appended"] = (f => f.append(nn.Softplus()), "Softplus is not one of"),
        ["a nested part appended"] = (f => ((Sequential)f.children().Last()).append(nn.Tanh()), ""),
        ["another weight"] = (f => Conv(f).weight = new Parameter(randn(4, 4, 3, 3, ScalarType.Float64)), ""),
        ["no bias"] = (f => Conv(f).bias = null, ""),
        ["another padding"] = (
            f => (Conv(f).kernel_size[0], Conv(f).dilation, Conv(f).padding![0], Conv(f).padding![1]) = (3, [2, 2], 2, 2), ""),
        ["a stride that the padding makes up for"] = (f => (Conv(f).stride, Conv(f).padding![0], Conv(f).padding![1]) = ([2, 2], 4, 4), ""),
        ["a padding mode"] = (f => Conv(f).padding_mode = PaddingModes.Reflect, "padding mode Reflect"),
        ["the activation"] = (f => f.modules().OfType<GELU>().Single().approximate = GELU.Approximate.tanh, ""),
        ["a frozen norm"] = (f => Norm(f).eval(), ""),
        ["a hook"] = (f => f.register_forward_hook((_, _, y) => y * 2), "Sequential has forward hooks"),
        ["a pre-hook of a part"] = (f => Conv(f).register_forward_pre_hook((_, x) => x * 3), "Conv2d has forward hooks"),
        ["a hook of a norm"] = (f => Norm(f).register_forward_hook((_, _, y) => y + 1), "BatchNorm2d has forward hooks"),
    };

    public static TheoryData<string> Names => [.. Changes.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void WhatIsChangedOnAModule_CountsFromTheNextCall(string name)
    {
        using var scope = NewDisposeScope();
        var (functions, truth) = (Functions(), Functions());
        using var stage = new ResidualStage(functions, new StageOptions { Reconstruction = Reconstruction.Corrected(40) });
        var x = Truth.Normal(1, 4, 4, 6, 6);
        Compare(stage, truth, x);
        Assert.Equal(StageExecution.Layers, stage.Execution);
        foreach (var list in new[] { functions, truth })
        {
            random.manual_seed(8);
            Changes[name].Change((Sequential)list[1]);
        }

        var reason = Changes[name].Reason;
        Assert.Equal(reason.Length == 0 ? StageExecution.Layers : StageExecution.Callback, stage.Execution);
        Assert.Contains(reason, stage.ExecutionReason);
        Compare(stage, truth, x);
        Compare(stage, truth, x);
        stage.eval();
        truth.ForEach(f => f.eval());
        Compare(stage, truth, x);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Layers_RefusesWhatTheyCannotBeAnyMore(string name)
    {
        using var scope = NewDisposeScope();
        var functions = Functions();
        using var stage = new ResidualStage(functions, new StageOptions { Execution = StageExecution.Layers });
        Changes[name].Change((Sequential)functions[1]);
        if (Changes[name].Reason.Length > 0)
        {
            var error = Assert.Throws<ResNetNodesException>(() => stage.call(Truth.Normal(1, 4, 4, 6, 6)));
            Assert.StartsWith("the stage can't run as native layers: function 1: ", error.Message);
            Assert.Contains(Changes[name].Reason, error.Message);
        }
    }

    [Fact]
    public void Auto_GoesBackToLayersWhereNothingStandsInTheWayAnyMore()
    {
        using var scope = NewDisposeScope();
        var functions = Functions();
        using var stage = new ResidualStage(functions);
        var calls = 0;
        var hook = functions[0].register_forward_hook((_, _, y) =>
        {
            calls++;
            return y;
        });
        using (no_grad())
        {
            stage.call(Truth.Normal(1, 4, 4, 6, 6));
        }

        Assert.Equal((1, StageExecution.Callback), (calls, stage.Execution));
        hook.remove();
        Assert.Equal(StageExecution.Layers, stage.Execution);
    }

    [Fact]
    public void WhatNeedsLayers_IsRefusedByNameWhereAHookStandsInTheWay()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var function = nn.Linear(4, 4);
        using var stage = ResidualStage.Shared(function, 2, new StageOptions { ComputeType = ComputeType.BFloat16 });
        function.register_forward_hook((_, _, y) => y);
        Assert.Contains("Linear has forward hooks", Assert.Throws<ResNetNodesException>(() => stage.call(randn(3, 4))).Message);
    }

    [Fact]
    public void Subclasses_AreCalled()
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(2, () => new Doubled(nn.Linear(6, 6)));
        using var stage = new ResidualStage(functions);
        Assert.Contains("Doubled is not one of", stage.ExecutionReason);
        var x = Truth.Normal(1, 3, 6);
        Assert.True(Truth.RelativeError(stage.call(x), Truth.Forward(functions, 2, Solver.Euler, x)) < 1e-14);
    }

    /// <summary>Frozen normalizations inside of a training stage, all, some or none of a function's.</summary>
    [Theory]
    [InlineData(ScalarType.Float64, 4)]
    [InlineData(ScalarType.Float32, 16)]
    public void FrozenNorms_RunNatively(ScalarType type, int planes)
    {
        using var scope = NewDisposeScope();
        foreach (var method in new[] { "backprop", "corrected:60", "corrected:80" })
        {
            for (var frozen = 0; frozen < 8; frozen++)
            {
                List<nn.Module<Tensor, Tensor>> Make() => Truth.Functions(3, () => Truth.TinyFunction(planes));
                var (functions, truth) = (Make(), Make());
                foreach (var list in new[] { functions, truth })
                {
                    list.ForEach(f => f.to(type));
                    var norms = list.SelectMany(f => f.modules()).OfType<BatchNorm2d>().ToList();
                    for (var i = 0; i < norms.Count; i++)
                    {
                        norms[i].running_mean!.fill_(0.1 * i);
                        norms[i].running_var!.fill_(2 + i);
                        norms[i].train(((frozen >> (i % 3)) & 1) == 0);
                    }
                }

                using var stage = new ResidualStage(
                    functions, new StageOptions { Execution = StageExecution.Layers, Reconstruction = Reconstruction.Parse(method) });
                var x = Truth.Normal(1, 4, planes, 6, 6).to(type);
                Compare(stage, truth, x, type == ScalarType.Float64 ? 1e-5 : 1e-3);
            }
        }
    }

    private static List<nn.Module<Tensor, Tensor>> Functions() => Truth.Functions(3, () => nn.Sequential(
        nn.Conv2d(4, 4, 3, padding: 1), nn.BatchNorm2d(4), nn.GELU(), nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1))));

    private static Conv2d Conv(Sequential f) => f.modules().OfType<Conv2d>().First();

    private static BatchNorm2d Norm(Sequential f) => f.modules().OfType<BatchNorm2d>().First();

    // Output, gradients and buffers.
    private static void Compare(ResidualStage stage, List<nn.Module<Tensor, Tensor>> functions, Tensor state, double tolerance = 1e-6)
    {
        Tensor a = state.detach().requires_grad_(true), b = state.detach().requires_grad_(true);
        var (found, expected) = (stage.call(a), Truth.Forward(functions, functions.Count, Solver.Euler, b));
        Assert.InRange(Truth.RelativeError(found, expected), 0, 1e-12 + (tolerance * 1e-2));
        found.pow(2).sum().backward();
        expected.pow(2).sum().backward();
        var scale = b.grad!.norm().to(ScalarType.Float64).item<double>();
        var parts = stage.Functions.SelectMany(f => f.parameters()).Prepend(a).Zip(functions.SelectMany(f => f.parameters()).Prepend(b));
        foreach (var (mine, other) in parts)
        {
            Assert.InRange((mine.grad! - other.grad!).norm().to(ScalarType.Float64).item<double>() / scale, 0, tolerance);
            mine.grad = other.grad = null;
        }

        foreach (var (mine, other) in stage.Functions.SelectMany(f => f.buffers()).Zip(functions.SelectMany(f => f.buffers())))
        {
            Assert.InRange((mine - other).abs().max().to(ScalarType.Float64).item<double>(), 0, 1e-9 + (tolerance * 1e-2));
        }
    }

    private sealed class Doubled : nn.Module<Tensor, Tensor>
    {
        private readonly nn.Module<Tensor, Tensor> inner;

        public Doubled(nn.Module<Tensor, Tensor> inner)
            : base(nameof(Doubled))
        {
            this.inner = inner;
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => inner.call(input) * 2;
    }
}
