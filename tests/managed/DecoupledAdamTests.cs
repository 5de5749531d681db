using ResNetNodes.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class DecoupledAdamTests
{
    /// <summary>Against a plain loop of the paper's algorithm, two groups, twelve steps; a parameter without a gradient stays.</summary>
    [Theory]
    [InlineData(0.9, 0.999, 1e-8, 0.1)]
    [InlineData(0.5, 0.7, 0.1, 0)]
    [InlineData(0, 0, 1e-3, 2)]
    public void Step_IsAsDefined(double beta1, double beta2, double epsilon, double decay)
    {
        using var scope = NewDisposeScope();
        var (one, other, still) = (Weight(1, 3, 5), Weight(2, 7), Weight(3, 2));
        var truth = new[] { one, other }.Select(p => (
            P: p.data<double>().ToArray(), M: new double[p.NumberOfElements], V: new double[p.NumberOfElements])).ToArray();
        var before = still.data<double>().ToArray();
        using var optimizer = new DecoupledAdam(
        [
            new AdamW.ParamGroup([one, still], 0.1, beta1, beta2, epsilon, decay),
            new AdamW.ParamGroup([other], 0.02, beta1, beta2, epsilon, 0.5),
        ]);
        for (var step = 1; step <= 12; step++)
        {
            optimizer.zero_grad();
            foreach (var (i, parameter) in new[] { one, other }.Index())
            {
                var gradient = Truth.Normal(100 + (2 * step) + i, parameter.shape);
                (parameter * gradient).sum().backward();
                var (rate, loss, g) = (i == 0 ? 0.1 : 0.02, i == 0 ? decay : 0.5, gradient.data<double>().ToArray());
                var (p, m, v) = truth[i];
                for (var j = 0; j < p.Length; j++)
                {
                    m[j] = (beta1 * m[j]) + ((1 - beta1) * g[j]);
                    v[j] = (beta2 * v[j]) + ((1 - beta2) * g[j] * g[j]);
                    var mean = m[j] / (1 - Math.Pow(beta1, step));
                    var spread = Math.Sqrt(v[j] / (1 - Math.Pow(beta2, step)));
                    p[j] -= rate * ((mean / (spread + epsilon)) + (loss * p[j]));
                }
            }

            optimizer.step();
        }

        // Twelve steps of some ten roundings of 1e-16 in numbers of about 1.
        Assert.All(one.data<double>().Zip(truth[0].P), pair => Assert.Equal(pair.Second, pair.First, 1e-12));
        Assert.All(other.data<double>().Zip(truth[1].P), pair => Assert.Equal(pair.Second, pair.First, 1e-12));
        Assert.Equal(before, still.data<double>().ToArray());
        Assert.Equal([12, 0, 12], optimizer.state_dict().State.Cast<AdamW.State>().Select(state => state.step));
    }

    /// <summary>A constant gradient moves each weight by the rate in every step, whatever its size.</summary>
    [Fact]
    public void Step_BearsCollectionsInBetween()
    {
        using var scope = NewDisposeScope();
        var parameters = Enumerable.Range(0, 20).Select(i => Weight(i, 4)).ToList();
        var start = parameters[0].data<double>()[0];
        using var optimizer = new DecoupledAdam(parameters, 1e-3, weightDecay: 0, epsilon: 1e-12);
        using var collecting = new Collecting();
        for (var step = 0; step < 300; step++)
        {
            optimizer.zero_grad();
            using var inner = NewDisposeScope();
            parameters.ForEach(parameter => parameter.sum().backward());
            optimizer.step();
        }

        Assert.Equal(start - 0.3, parameters[0].data<double>()[0], 1e-9);
    }

    /// <summary>Its state outlives the scope in which it was made.</summary>
    [Fact]
    public void State_BelongsToTheOptimizer()
    {
        var weight = Weight(1, 3);
        DecoupledAdam optimizer;
        using (NewDisposeScope())
        {
            optimizer = new DecoupledAdam([weight]);
        }

        weight.sum().backward();
        optimizer.step();
        var state = (AdamW.State)optimizer.state_dict().State.Single();
        Assert.False(state.exp_avg.IsInvalid || state.exp_avg_sq.IsInvalid);
        optimizer.Dispose();
        weight.Dispose();
    }

    [Fact]
    public void WhatItHasNot_IsRefused()
    {
        using var scope = NewDisposeScope();
        var weight = Weight(1, 2);
        Assert.All(
            [new AdamW.ParamGroup([weight], amsgrad: true), new AdamW.ParamGroup([weight], maximize: true)],
            group => Assert.Contains(
                "take TorchSharp's AdamW", Assert.Throws<ArgumentException>(() => new DecoupledAdam([group])).Message));
    }

    private static Parameter Weight(int seed, params long[] shape) => new(Truth.Normal(seed, shape));
}
