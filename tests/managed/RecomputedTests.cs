using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class RecomputedTests
{
    /// <summary>What rounding may be, of the whole gradient: sums of some 100 terms, each rounded, times 10.</summary>
    private static readonly Dictionary<ScalarType, double> Bounds = new()
    {
        [ScalarType.Float64] = 1e-13,
        [ScalarType.Float32] = 6e-5,
        // Called alone, by the same operators in the same order as the truth.
        [ScalarType.BFloat16] = 4e-3,
    };

    public static TheoryData<string, ScalarType, RecomputedOptions> Products()
    {
        var data = new TheoryData<string, ScalarType, RecomputedOptions>();
        foreach (var (name, of) in RecomputedCases.All)
        {
            foreach (var stored in new[] { false, true })
            {
                foreach (var type in Bounds.Keys)
                {
                    data.Add(name, type, new RecomputedOptions { Stored = stored, Execution = StageExecution.Callback });
                }

                foreach (var type in new[] { ScalarType.Float64, ScalarType.Float32 })
                {
                    data.Add(name, type, new RecomputedOptions { Stored = stored });
                    if (of.Layers)
                    {
                        data.Add(name, type, new RecomputedOptions { Stored = stored, AccumulateGradientsInPlace = true });
                    }
                }
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void EverythingEqualsThatOfTheModuleItself(string name, ScalarType type, RecomputedOptions options)
    {
        using var scope = NewDisposeScope();
        var of = RecomputedCases.All[name];
        var plain = Made(of, type, part => part);
        var network = Made(of, type, part => new Recomputed(part, options));
        var recomputed = network.modules().Prepend(network).OfType<Recomputed>().ToList();
        if (of.Layers && options.Execution == StageExecution.Auto)
        {
            Assert.All(recomputed, one => Assert.True(one.Execution == StageExecution.Layers, one.ExecutionReason));
        }

        var draws = recomputed.Any(r => r.Execution == StageExecution.Callback) && ReferenceEquals(recomputed[0], network);
        for (var pass = 0; pass < 2; pass++)
        {
            var truth = Pass(plain, of, type, x =>
            {
                // The one number that a call draws is the seed of its own.
                using var random = draws ? RandomNumbers.Drawn().Part(0).TorchScope() : null;
                return plain.call(x.clone()); // one that writes to its input may not have a leaf
            });
            var found = Pass(network, of, type, network.call);
            Assert.Equal(truth.Select(t => t is null), found.Select(t => t is null));
            var all = truth.OfType<Tensor>().Select(t => t.to(ScalarType.Float64).norm().item<double>()).Max();
            for (var i = 0; i < truth.Count; i++)
            {
                if (truth[i] is { } expected)
                {
                    Assert.Equal(expected.dtype, found[i]!.dtype);
                    Assert.Equal(expected.shape, found[i]!.shape);
                    var error = (found[i]! - expected).to(ScalarType.Float64).norm().item<double>();
                    Assert.True(error <= Bounds[type] * (1 + all), $"tensor {i} is off by {error}");
                }
            }
        }
    }

    [Theory]
    [InlineData(StageExecution.Layers, false)]
    [InlineData(StageExecution.Layers, true)]
    [InlineData(StageExecution.Callback, false)]
    public void AutogradGrad_GivesWhatIsAskedForAlone(StageExecution execution, bool inPlace)
    {
        using var scope = NewDisposeScope();
        var module = Truth.Functions(1, () => Truth.LinearFunction(6))[0];
        var options = new RecomputedOptions { Execution = execution, AccumulateGradientsInPlace = inPlace };
        using var recomputed = new Recomputed(module, options);
        foreach (var wanted in new[] { true, false })
        {
            var x = Truth.Normal(1, 5, 6).requires_grad_(wanted);
            List<Tensor> leaves = wanted ? [x, .. module.parameters()] : [.. module.parameters()];
            var truth = autograd.grad([module.call(x).pow(2).sum()], leaves);
            var found = autograd.grad([recomputed.call(x).pow(2).sum()], leaves);
            Assert.All(found.Zip(truth), pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-13));
            var one = autograd.grad([recomputed.call(x).pow(2).sum()], [leaves[^1]]);
            Assert.True(Truth.RelativeError(one[0], truth[^1]) < 1e-13);
            Assert.All(leaves, leaf => Assert.Null(leaf.grad));
        }
    }

    /// <summary>The evaluations that a module is called for: once, and once more on the way back.</summary>
    [Theory]
    [InlineData(false, 2)]
    [InlineData(true, 1)]
    public void TheModule_IsCalledOnceMoreUnlessItIsStored(bool stored, int expected)
    {
        using var scope = NewDisposeScope();
        var (calls, hooks) = (0, 0);
        var module = nn.Sequential(new Lambda(x =>
        {
            calls++;
            return x.sin();
        }));
        module.register_forward_hook((_, _, y) =>
        {
            hooks++;
            return y;
        });
        using var recomputed = new Recomputed(module, new RecomputedOptions { Stored = stored });
        recomputed.call(Truth.Normal(1, 5, 6).requires_grad_(true)).sum().backward();
        Assert.Equal((expected, expected), (calls, hooks));
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void WithoutGradients_ItIsThePlainModule(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        var module = Truth.Functions(1, () => Truth.TinyFunction(3))[0];
        using var recomputed = new Recomputed(module, new RecomputedOptions { Execution = execution });
        recomputed.eval();
        LeakTests.FinalizeOthers();
        var objects = NativeRuntime.LiveObjects;
        var x = Truth.Normal(1, 2, 3, 5, 5);
        using (no_grad())
        {
            Same(x.clone().requires_grad_(true));
        }

        module.parameters().ToList().ForEach(p => p.requires_grad_(false));
        Same(x);

        void Same(Tensor input)
        {
            var output = recomputed.call(input);
            Assert.False(output.requires_grad);
            Assert.True(Truth.RelativeError(output, module.call(input)) < 1e-14);
            Assert.Equal(objects, NativeRuntime.LiveObjects);
        }
    }

    /// <summary>Two layers that round input and weights to bfloat16, u = 4e-3, in sums: as mixed stages.</summary>
    [Fact]
    public void MixedPrecision_IsThatOfNativeLayers()
    {
        using var scope = NewDisposeScope();
        var module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 4, 3));
        using var recomputed = new Recomputed(module, new RecomputedOptions { ComputeType = ComputeType.BFloat16 });
        var x = Truth.Normal(1, 4, 3, 9, 9).to(ScalarType.Float32);
        var truth = Gradients(module);
        var found = Gradients(recomputed);
        recomputed.Options = recomputed.Options with { Stored = true };
        var stored = Gradients(recomputed);
        Assert.InRange(Truth.RelativeError(found, truth), 1e-5, Math.Sqrt(10) * 4e-3);
        Assert.Equal(0.0, Truth.RelativeError(found, stored));

        Tensor Gradients(nn.Module<Tensor, Tensor> of)
        {
            var leaf = x.detach().requires_grad_(true);
            of.call(leaf).pow(2).sum().backward();
            return cat([.. Truth.TakeGradients(of.parameters().Prepend(leaf)).Select(g => g.flatten())]);
        }
    }

    [Fact]
    public void ParametersAndBuffers_AreNamedBelowTheModule()
    {
        using var scope = NewDisposeScope();
        using var recomputed = new Recomputed(Truth.TinyFunction(3));
        Assert.Equal(recomputed.Module.state_dict().Keys.Select(key => $"module.{key}"), recomputed.state_dict().Keys);
        using var copy = new Recomputed(Truth.TinyFunction(3));
        copy.load_state_dict(recomputed.state_dict());
        recomputed.eval();
        Assert.All(recomputed.modules(), module => Assert.False(module.training));
        recomputed.to(ScalarType.Float64);
        copy.to(ScalarType.Float64).eval();
        var x = Truth.Normal(1, 2, 3, 5, 5);
        Assert.Equal(0.0, (recomputed.call(x) - copy.call(x)).abs().max().item<double>());
    }

    [Fact]
    public void Options_AreReadAndChangedBetweenSteps()
    {
        using var recomputed = new Recomputed(Truth.LinearFunction(6));
        Assert.Equal(new RecomputedOptions(), recomputed.Options);
        Assert.Equal((StageExecution.Layers, "all layers are known"), (recomputed.Execution, recomputed.ExecutionReason));
        Assert.Equal("Recomputed(module=Sequential, stored=false, execution=layers)", recomputed.ToString());
        foreach (var options in new RecomputedOptions[]
        {
            new() { Execution = StageExecution.Callback, Stored = true },
            new() { AccumulateGradientsInPlace = true, ComputeType = ComputeType.BFloat16 },
        })
        {
            recomputed.Options = options;
            Assert.Equal(options, recomputed.Options);
        }

        Assert.Equal("Recomputed(module=Sequential, stored=false, execution=layers, compute=bfloat16)", recomputed.ToString());
        using var called = new Recomputed(nn.Sigmoid());
        Assert.Equal(StageExecution.Callback, called.Execution);
        Assert.StartsWith("Sigmoid is not one of ", called.ExecutionReason);
    }

    /// <summary>What is under way keeps the options that it began with.</summary>
    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void Options_ChangedBetweenForwardAndBackwardPassCountFromTheNextOn(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        var module = Truth.Functions(1, () => Truth.LinearFunction(6))[0];
        using var recomputed = new Recomputed(module, new RecomputedOptions { Execution = execution });
        var x = Truth.Normal(1, 5, 6).requires_grad_(true);
        module.call(x).pow(2).sum().backward();
        var truth = Truth.TakeGradients([x])[0];
        var loss = recomputed.call(x).pow(2).sum();
        recomputed.Options = new RecomputedOptions { Stored = true };
        loss.backward();
        Assert.True(Truth.RelativeError(x.grad!, truth) < 1e-13);
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void OneTrainedFromManyThreads_SumsTheirGradients(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        const int Threads = 4, Passes = 10;
        var module = Truth.Functions(1, () => Truth.TinyFunction(3))[0];
        using var recomputed = new Recomputed(module, new RecomputedOptions { Execution = execution });
        var inputs = Enumerable.Range(0, Threads).Select(i => Truth.Normal(i, 2, 3, 5, 5)).ToList();
        inputs.ForEach(x => module.call(x).pow(2).sum().backward());
        var truth = Truth.TakeGradients(module.parameters());
        TestThreads.Run(Threads, i =>
        {
            for (var pass = 0; pass < Passes; pass++)
            {
                using var inner = NewDisposeScope();
                recomputed.call(inputs[i]).pow(2).sum().backward();
            }
        });
        Assert.All(Truth.TakeGradients(module.parameters()).Zip(truth), pair =>
            Assert.True((pair.First - (Passes * pair.Second)).norm().item<double>() < 1e-10 * (1 + pair.Second.norm().item<double>())));
    }

    private static nn.Module<Tensor, Tensor> Made(
        RecomputedCase of, ScalarType type, Func<nn.Module<Tensor, Tensor>, nn.Module<Tensor, Tensor>> wrap)
    {
        random.manual_seed(3);
        var network = of.Make(wrap);
        network.to(type);
        of.Prepare(network);
        return network;
    }

    // Output, gradients, buffers, the input as it is then, and the caller's next random number.
    private static List<Tensor?> Pass(nn.Module<Tensor, Tensor> network, RecomputedCase of, ScalarType type, Func<Tensor, Tensor> forward)
    {
        var x = of.Input();
        x = is_integral(x) ? x : x.to(type);
        var leaf = x.detach().requires_grad_(of.InputWanted);
        random.manual_seed(11);
        var output = forward(leaf);
        var value = output.detach().clone();
        (output * Truth.Normal(2, output.shape).to(output.dtype)).sum().backward();
        List<Tensor?> tensors =
        [
            value, rand(1), leaf.detach(),
            .. network.parameters().Prepend(leaf).Select(t => t.grad?.clone()),
            .. network.buffers().Select(b => b.clone()),
        ];
        network.parameters().ToList().ForEach(p => p.grad = null);
        return tensors;
    }
}
