using System.Runtime.InteropServices;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>What a <see cref="Recomputed"/> can't do is refused by name, and never gives another gradient.</summary>
public sealed class RecomputedRefusalTests
{
    public static TheoryData<StageExecution, bool> Products => new()
    {
        { StageExecution.Layers, false }, { StageExecution.Layers, true },
        { StageExecution.Callback, false }, { StageExecution.Callback, true },
    };

    [Theory]
    [MemberData(nameof(Products))]
    public void Parameters_ChangedInPlaceAreRefused(StageExecution execution, bool stored)
    {
        using var scope = NewDisposeScope();
        using var recomputed = Made(execution, stored);
        foreach (var parameter in recomputed.parameters())
        {
            var loss = Loss(recomputed);
            using (no_grad())
            {
                parameter.mul_(2);
            }

            Refused(loss, "in place since the forward pass");
        }
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void TheInput_ChangedInPlaceIsRefused(StageExecution execution, bool stored)
    {
        using var scope = NewDisposeScope();
        using var recomputed = Made(execution, stored);
        var x = Truth.Normal(1, 5, 6);
        var loss = recomputed.call(x).pow(2).sum();
        x.mul_(2);
        Refused(loss, "x was changed in place since the forward pass");
    }

    /// <summary>The last layer may read its own output on the way back, as tanh does.</summary>
    [Theory]
    [MemberData(nameof(Products))]
    public void TheOutput_ChangedInPlaceIsRefusedOrDoesNotMatter(StageExecution execution, bool stored)
    {
        using var scope = NewDisposeScope();
        Func<nn.Module<Tensor, Tensor>>[] lasts = [nn.Tanh, () => nn.ReLU(), () => nn.GELU(), () => nn.Linear(4, 4), nn.Identity];
        foreach (var last in lasts)
        {
            var module = Truth.Functions(1, () => nn.Sequential(nn.Linear(6, 4), last()))[0];
            using var recomputed = new Recomputed(module, new RecomputedOptions { Execution = execution, Stored = stored });
            var x = Truth.Normal(1, 5, 6).requires_grad_(true);
            (module.call(x) - 2).neg().sum().backward();
            var truth = Truth.TakeGradients([x])[0];
            try
            {
                recomputed.call(x).sub_(2).neg_().sum().BackwardThroughStages();
                Assert.True(Truth.RelativeError(x.grad!, truth) < 1e-13, $"{last()}");
                Truth.TakeGradients([x]);
            }
            catch (Exception error) when (error is ResNetNodesException or ExternalException)
            {
                Assert.True(stored, error.Message);
                Assert.Contains("place", error.Message);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void ASecondBackwardPass_IsRefused(StageExecution execution, bool stored)
    {
        using var scope = NewDisposeScope();
        using var recomputed = Made(execution, stored);
        var loss = Loss(recomputed);
        loss.backward(retain_graph: true);
        Refused(loss, "a second backward pass through the same forward pass of a Recomputed;");
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void SecondDerivatives_AreRefused(StageExecution execution, bool stored)
    {
        using var scope = NewDisposeScope();
        using var recomputed = Made(execution, stored);
        var x = Truth.Normal(1, 5, 6).requires_grad_(true);
        var error = Assert.ThrowsAny<Exception>(() => autograd.grad([recomputed.call(x).pow(2).sum()], [x], create_graph: true));
        Assert.Contains("create_graph: the gradient of a Recomputed can't be differentiated again", error.Message);
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void ADisposedOne_IsRefused(StageExecution execution, bool stored)
    {
        using var scope = NewDisposeScope();
        var recomputed = Made(execution, stored);
        var loss = Loss(recomputed);
        recomputed.Dispose();
        Assert.Equal(nameof(Recomputed), Assert.Throws<ObjectDisposedException>(loss.BackwardThroughStages).ObjectName);
        Assert.Throws<ObjectDisposedException>(() => recomputed.call(zeros(5, 6)));
    }

    private static Dictionary<string, (Action<Sequential> Change, string Message)> Changing { get; } = new()
    {
        ["a dropout's p"] = (
            f => f.modules().OfType<Dropout>().Single().p = 0.9, "the settings or hooks of Dropout in the recomputed module"),
        ["a module appended"] = (f => f.append(nn.Tanh()), "the modules of the recomputed module were changed"),
        ["a hook"] = (f => f.register_forward_hook((_, _, y) => y * 2), "the settings or hooks of Sequential in the recomputed module"),
        ["a weight replaced"] = (
            f => f.modules().OfType<Linear>().First().weight = new Parameter(randn(6, 6, dtype: ScalarType.Float64)),
            "parameter 'weight' of Linear in the recomputed module was replaced"),
    };

    public static TheoryData<string> Changes => [.. Changing.Keys];

    [Theory]
    [MemberData(nameof(Changes))]
    public void ModulesThatAreCalled_ChangedBetweenAreRefusedByName(string what)
    {
        using var scope = NewDisposeScope();
        var module = Truth.Functions(1, () => nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.1)))[0];
        using var recomputed = new Recomputed(module);
        var loss = Loss(recomputed);
        Changing[what].Change((Sequential)module);
        Refused(loss, Changing[what].Message);
    }

    [Fact]
    public void WhatTheModuleDoes_IsToldOfIt()
    {
        using var scope = NewDisposeScope();
        var source = Truth.Normal(2, 6).requires_grad_(true);
        var computed = source.pow(3);
        Told(
            "the recomputed module reads a tensor that was computed outside of it and needs a gradient; compute it inside, or detach it",
            new Lambda(x => x * computed),
            Truth.Normal(1, 5, 6).requires_grad_(true));
        Told(
            "the recomputed module reads a tensor that needs a gradient and is neither its parameter nor an input of "
            + "the recomputed module; register it as a parameter, or call the recomputed module under no_grad",
            new Lambda(x => x * source),
            Truth.Normal(1, 5, 6));
        Told("the recomputed module returned null, expected a tensor", new Lambda(_ => null!), Truth.Normal(1, 5, 6));
        var writes = false;
        Told(
            "the recomputed module wrote to its input in place, which its first evaluation had not done; let it do so always or never",
            new Lambda(x => (writes ? x.detach().add_(1) : x) + 1),
            Truth.Normal(1, 5, 6).requires_grad_(true));

        void Told(string message, nn.Module<Tensor, Tensor> module, Tensor x)
        {
            using var recomputed = new Recomputed(module);
            var error = Assert.Throws<ResNetNodesException>(() =>
            {
                for (var time = 0; time < 2; time++)
                {
                    recomputed.call(x).sum().BackwardThroughStages();
                    writes = true;
                }
            });
            Assert.Equal(message, error.Message);
        }
    }

    [Fact]
    public void AnExceptionOfTheModule_ReachesTheCaller()
    {
        using var scope = NewDisposeScope();
        var calls = 0;
        using var recomputed = new Recomputed(new Lambda(x => ++calls % 2 == 0 ? throw new InvalidOperationException("failed") : x.sin()));
        var x = Truth.Normal(1, 5, 6).requires_grad_(true);
        Assert.Equal("failed", Assert.Throws<InvalidOperationException>(recomputed.call(x).sum().BackwardThroughStages).Message);
        var plain = Assert.Throws<ExternalException>(() => recomputed.call(x).sum().backward());
        Assert.StartsWith("failed\n(InvalidOperationException of a Recomputed;", plain.Message);
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentNullException>("module", () => new Recomputed(null!));
        var sigmoid = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid());
        var native = new RecomputedOptions { Execution = StageExecution.Layers };
        Told("the recomputed module can't run as native layers: Sigmoid is not one of", sigmoid, native);
        Told("the recomputed module can't run as native layers: the recomputed module has no layers", nn.Sequential(), native);
        Told("ComputeType.BFloat16 needs native layers: Sigmoid is not one of", sigmoid, new() { ComputeType = ComputeType.BFloat16 });
        Told("Execution is 7, expected one of Auto, Layers, Callback", sigmoid, new() { Execution = (StageExecution)7 });
        using var recomputed = new Recomputed(sigmoid);
        var before = recomputed.Options;
        Assert.Throws<ArgumentNullException>(() => recomputed.Options = null!);
        Assert.Throws<ArgumentException>(() => recomputed.Options = before with { Execution = StageExecution.Layers });
        Assert.Equal(before, recomputed.Options);
        Assert.Throws<ArgumentNullException>(() => recomputed.call(null!));

        static void Told(string message, nn.Module<Tensor, Tensor> module, RecomputedOptions options) =>
            Assert.StartsWith(message, Assert.Throws<ArgumentException>(() => new Recomputed(module, options)).Message);
    }

    private static Recomputed Made(StageExecution execution, bool stored) =>
        new(Truth.Functions(1, () => Truth.LinearFunction(6))[0], new RecomputedOptions { Execution = execution, Stored = stored });

    private static Tensor Loss(Recomputed recomputed) => recomputed.call(Truth.Normal(1, 5, 6).requires_grad_(true)).pow(2).sum();

    private static void Refused(Tensor loss, string message)
    {
        var error = Assert.Throws<ResNetNodesException>(loss.BackwardThroughStages);
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
        Assert.DoesNotContain("stage", error.Message);
    }
}
