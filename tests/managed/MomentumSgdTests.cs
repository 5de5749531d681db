using ResNetNodes.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class MomentumSgdTests
{
    /// <summary>Against a plain loop of the definition, two groups, ten steps; a parameter without a gradient stays.</summary>
    [Theory]
    [InlineData(0.9, 0.01)]
    [InlineData(0.9, 0)]
    [InlineData(0, 0.3)]
    public void Step_IsAsDefined(double momentum, double decay)
    {
        using var scope = NewDisposeScope();
        var (one, other, still) = (Weight(1, 3, 5), Weight(2, 7), Weight(3, 2));
        var truth = new[] { one, other }.Select(p => (P: p.data<double>().ToArray(), V: new double[p.NumberOfElements])).ToArray();
        var before = still.data<double>().ToArray();
        using var optimizer = new MomentumSgd(
        [
            new SGD.ParamGroup([one, still], 0.1, momentum, weight_decay: decay),
            new SGD.ParamGroup([other], 0.02, momentum, weight_decay: 0.5),
        ]);
        for (var step = 0; step < 10; step++)
        {
            optimizer.zero_grad();
            foreach (var (i, parameter) in new[] { one, other }.Index())
            {
                var gradient = Truth.Normal(100 + (2 * step) + i, parameter.shape);
                (parameter * gradient).sum().backward();
                var (rate, loss, g) = (i == 0 ? 0.1 : 0.02, i == 0 ? decay : 0.5, gradient.data<double>().ToArray());
                var (p, v) = truth[i];
                for (var j = 0; j < p.Length; j++)
                {
                    v[j] = (momentum * v[j]) + g[j] + (loss * p[j]);
                    p[j] -= rate * v[j];
                }
            }

            optimizer.step();
        }

        // Ten steps of a few roundings of 1e-16 in numbers of about 1.
        Assert.All(one.data<double>().Zip(truth[0].P), pair => Assert.Equal(pair.Second, pair.First, 1e-13));
        Assert.All(other.data<double>().Zip(truth[1].P), pair => Assert.Equal(pair.Second, pair.First, 1e-13));
        Assert.Equal(before, still.data<double>().ToArray());
        var kept = optimizer.state_dict().State.Cast<SGD.State>().Select(state => state.momentum_buffer is not null);
        Assert.Equal([momentum > 0, false, momentum > 0], kept);
    }

    /// <summary>The numbers that LibTorch reads stay alive: a loop of the definition beside it.</summary>
    [Fact]
    public void Step_BearsCollectionsInBetween()
    {
        using var scope = NewDisposeScope();
        var parameters = Enumerable.Range(0, 20).Select(i => Weight(i, 4)).ToList();
        using var optimizer = new MomentumSgd(parameters, 1e-3, 0.5, 0.1);
        using var collecting = new Collecting();
        var (p, v) = (parameters[0].data<double>()[0], 0.0);
        for (var step = 0; step < 400; step++)
        {
            optimizer.zero_grad();
            using var inner = NewDisposeScope();
            parameters.ForEach(parameter => parameter.sum().backward());
            optimizer.step();
            v = (0.5 * v) + 1 + (0.1 * p);
            p -= 1e-3 * v;
        }

        Assert.Equal(p, parameters[0].data<double>()[0], 1e-12);
    }

    [Fact]
    public void WhatItHasNot_IsRefused()
    {
        using var scope = NewDisposeScope();
        var weight = Weight(1, 2);
        Assert.All(
            [
                new SGD.ParamGroup([weight], 0.1, 0.9, dampening: 0.5),
                new SGD.ParamGroup([weight], 0.1, 0.9, nesterov: true),
                new SGD.ParamGroup([weight], 0.1, 0.9, maximize: true),
            ],
            group => Assert.Contains("take TorchSharp's SGD", Assert.Throws<ArgumentException>(() => new MomentumSgd([group])).Message));
    }

    [Fact]
    public void Step_GivesTheLossOfItsClosure()
    {
        using var scope = NewDisposeScope();
        using var optimizer = new MomentumSgd([Weight(1, 2)]);
        var loss = ones(1);
        Assert.Same(loss, optimizer.step(() => loss));
    }

    private static Parameter Weight(int seed, params long[] shape) => new(Truth.Normal(seed, shape));
}
