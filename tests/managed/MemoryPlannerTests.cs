using System.Globalization;
using ResNetNodes.Networks;
using ResNetNodes.Planning;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class MemoryPlannerTests
{
    private const long Plenty = 1L << 40;

    public static TheoryData<string, double> Budgets()
    {
        var data = new TheoryData<string, double>();
        foreach (var network in new[] { "tiny", "tiny-heun", "ode", "ode-bottleneck", "tied", "ordinary", "torchvision" })
        {
            foreach (var share in new[] { 0, 0.1, 0.3, 0.6, 1 })
            {
                data.Add(network, share);
            }
        }

        return data;
    }

    /// <summary>The gradients of stored tapes, whatever the budget; to the tolerance of what is reconstructed.</summary>
    [Theory]
    [MemberData(nameof(Budgets))]
    public void Gradients_AreThoseOfBackpropWithinAnyBudget(string name, double share)
    {
        using var scope = NewDisposeScope();
        var x = Truth.Normal(3, 4, 3, 32, 32);
        var plan = PlannerOf(Made(name, Plenty)).Prepare(x);
        var budget = plan.LeastBytes + (long)(share * (plan.MostBytes - plan.LeastBytes));
        var (network, stored) = (Made(name, budget), Made(name, null));
        for (var step = 0; step < 5; step++)
        {
            var truth = Step(stored, x);
            var found = Step(network, x);
            var difference = truth.Zip(found).Sum(pair => (pair.First - pair.Second).pow(2).sum().item<double>());
            var error = Math.Sqrt(difference / truth.Sum(gradient => gradient.pow(2).sum().item<double>()));
            var reconstructs = PlannerOf(network).Plan!.Parts.Any(part => part.Method.StartsWith("adaptive", StringComparison.Ordinal));
            Assert.True(error < (reconstructs ? 0.02 : 1e-10), $"step {step}: {error}");
            Assert.True(PlannerOf(network).Plan!.Bytes <= budget);
        }
    }

    /// <summary>In a process of its own, whose memory is its steps'.</summary>
    [Theory]
    [InlineData("tiny", 0)]
    [InlineData("tiny", 0.5)]
    [InlineData("basic", 0)]
    [InlineData("basic", 0.5)]
    [InlineData("bottleneck", 0)]
    [InlineData("bottleneck", 0.3)]
    [InlineData("bottleneck", 1)]
    [InlineData("bfloat16", 0)]
    [InlineData("bfloat16", 0.5)]
    public void Budgets_AreKept(string network, double share)
    {
        var lines = TestProcess.Run("budget", network, share.ToString(CultureInfo.InvariantCulture));
        var (budget, measured) = (long.Parse(lines[0], CultureInfo.InvariantCulture), long.Parse(lines[1], CultureInfo.InvariantCulture));
        Assert.True(measured <= 1.05 * budget, $"{measured:N0} of {budget:N0} bytes");
    }

    [Theory]
    [InlineData("tiny")]
    [InlineData("ode-bottleneck")]
    public void TheLeast_IsNamedAndCanBeKept(string name)
    {
        using var scope = NewDisposeScope();
        using var x = zeros(1, ScalarType.Float64).expand(64, 3, 32, 32);
        var least = PlannerOf(Made(name, Plenty)).Prepare(x).LeastBytes;
        Assert.Equal(least, PlannerOf(Made(name, least)).Prepare(x).Bytes);
        var planner = PlannerOf(Made(name, least - 1));
        var message = Assert.Throws<ResNetNodesException>(() => planner.Prepare(x)).Message;
        Assert.Contains("is too small for an input of 64×3×32×32: the least is ", message, StringComparison.Ordinal);
        var named = message.Split("the least is ")[1].Split(" MiB")[0];
        var suffices = (long)(double.Parse(named, CultureInfo.InvariantCulture) * (1 << 20));
        Assert.InRange(suffices, least, least + (1 << 20));
        PlannerOf(Made(name, suffices)).Prepare(x);
    }

    [Fact]
    public void APlan_StaysUntilMeasurementsAskForAnother()
    {
        using var scope = NewDisposeScope();
        var network = Made("ode", Plenty);
        var planner = PlannerOf(network);
        Assert.Null(planner.Plan);
        var x = Truth.Normal(1, 4, 3, 32, 32);
        using (no_grad())
        {
            network.call(x);
        }

        Assert.Null(planner.Plan);
        Step(network, x);
        var first = planner.Plan!;
        Assert.All(first.Parts, part => Assert.Null(part.Seconds));
        for (var step = 0; step < 9; step++)
        {
            Step(network, x);
            Assert.Equal(first.Parts.Select(part => part.Method), planner.Plan!.Parts.Select(part => part.Method));
        }

        Assert.All(planner.Plan!.Parts, part => Assert.True(part.Seconds > 0));
        Assert.True(planner.Plan!.Seconds > 0);
        // The last batch of an epoch is smaller.
        var small = Truth.Normal(1, 2, 3, 32, 32);
        Assert.True(planner.Prepare(small).Bytes < first.Bytes);
        Assert.Equal(first.Bytes, planner.Prepare(x).Bytes);
    }

    /// <summary>All is stored where there is room for all, and the parts say what they do.</summary>
    [Fact]
    public void Plans_SayWhatThePartsDo()
    {
        using var scope = NewDisposeScope();
        var network = (ResNet)Made("ode", Plenty);
        MemoryPlan plan = network.Planner!.Prepare(Truth.Normal(1, 4, 3, 32, 32));
        Assert.Equal(network.Parts.Select(part => part.Name), plan.Parts.Select(part => part.Name));
        Assert.All(
            plan.Parts,
            part => Assert.Equal(part.Name.StartsWith("stage", StringComparison.Ordinal) ? "backprop" : "stored", part.Method));
        Assert.Equal(plan.MostBytes, plan.Bytes);
        Assert.All(network.Stages, stage => Assert.Equal(Reconstruction.Backprop, stage!.Options.Reconstruction));
        network = (ResNet)Made("ode", plan.LeastBytes);
        plan = network.Planner!.Prepare(Truth.Normal(1, 4, 3, 32, 32));
        Assert.Contains(network.Parts.Select(part => part.Module).OfType<Recomputed>(), part => !part.Options.Stored);
        Assert.All(plan.Parts, (PartPlan part) => Assert.True(part.KeptBytes > 0 && part.WorkingBytes > 0 && part.Evaluations >= 3));
    }

    /// <summary>What a run is continued by is what was asked for, not what a plan has made of it for some batch.</summary>
    [Fact]
    public void Stages_KeepWhatTheyWereGiven()
    {
        using var scope = NewDisposeScope();
        var network = (ResNet)Made("ode", Plenty);
        network.Planner!.Prepare(Truth.Normal(1, 4, 3, 32, 32));
        Assert.All(ILearningStage.Of(network), pair =>
        {
            Assert.Equal(Reconstruction.Adaptive(), pair.Stage.Given.Reconstruction);
            Assert.Equal(Reconstruction.Backprop, ((ResidualStage)pair.Stage).Options.Reconstruction);
        });
        network.Stages[0]!.Options = new StageOptions { Reconstruction = Reconstruction.Inverse };
        Assert.Equal(Reconstruction.Inverse, ((ILearningStage)network.Stages[0]!).Given.Reconstruction);
    }

    /// <summary>No backward pass reaches what lies before the first part that is trained.</summary>
    [Fact]
    public void FrozenParts_TakeNoMoreThanTheirOutputs()
    {
        using var scope = NewDisposeScope();
        var x = Truth.Normal(1, 4, 3, 32, 32);
        var network = (ResNet)Made("ode", Plenty);
        var all = network.Planner!.Prepare(x);
        foreach (var parameter in network.parameters())
        {
            parameter.requires_grad_(false);
        }

        network.Stages[2]!.parameters().ToList().ForEach(parameter => parameter.requires_grad_(true));
        var some = network.Planner.Prepare(x);
        Assert.True(some.LeastBytes < all.LeastBytes && some.MostBytes < all.MostBytes);
        var names = some.Parts.Select(part => part.Name).ToList();
        var first = names.IndexOf("stage3");
        Assert.All(some.Parts.Take(first), part => Assert.Equal(0, part.WorkingBytes));
        Assert.Equal(all.Parts.Skip(first).Select(part => part.KeptBytes), some.Parts.Skip(first).Select(part => part.KeptBytes));
        Step(network, x);
        Assert.Equal(some.Bytes, network.Planner.Prepare(x).Bytes);
    }

    [Fact]
    public void WhatCannotBePlanned_IsRefused()
    {
        using var scope = NewDisposeScope();
        var linear = nn.Linear(4, 4);
        Assert.Contains(
            "expected a ResidualStage, or a Recomputed around it",
            Refused(() => new MemoryPlanner([("end", linear)], 1)), StringComparison.Ordinal);
        Assert.Contains("at least one part", Refused(() => new MemoryPlanner([], 1)), StringComparison.Ordinal);
        Assert.Contains("budget", Refused(() => new MemoryPlanner([("end", new Recomputed(linear))], 0)), StringComparison.Ordinal);
        var called = new Recomputed(nn.Sequential(nn.Softplus()));
        var planner = new MemoryPlanner([("end", called)], Plenty);
        var message = Assert.Throws<ResNetNodesException>(() => planner.Prepare(zeros(2, 4))).Message;
        Assert.StartsWith("a memory budget needs native layers, and end is called: ", message, StringComparison.Ordinal);
        planner = new MemoryPlanner([("end", new Recomputed(linear))], Plenty);
        Assert.StartsWith(
            "end: ",
            Assert.Throws<ResNetNodesException>(() => planner.Prepare(zeros(2, 5))).Message, StringComparison.Ordinal);
        var graphs = ResidualStage.Shared(nn.Linear(4, 4), 3, new StageOptions { CudaGraphs = true });
        Assert.Contains("stage has CudaGraphs", Refused(() => new MemoryPlanner([("stage", graphs)], 1)), StringComparison.Ordinal);
        Assert.Contains(
            "leave one of them out",
            Refused(() => new ResNet(new() { MemoryBudget = 1, Recompute = true })), StringComparison.Ordinal);
    }

    private static string Refused(Func<object> action) => Assert.ThrowsAny<ArgumentException>(action).Message;

    private static MemoryPlanner PlannerOf(nn.Module network) => network switch
    {
        TinyResNet tiny => tiny.Planner!,
        _ => ((ResNet)network).Planner!,
    };

    // In float64; without a budget by stored tapes.
    private static nn.Module<Tensor, Tensor> Made(string name, long? budget)
    {
        var method = budget is null ? Reconstruction.Backprop : Reconstruction.Adaptive();
        var stage = new StageOptions { Reconstruction = method, Solver = name == "tiny-heun" ? Solver.Heun : Solver.Euler };
        nn.Module<Tensor, Tensor> network = name.StartsWith("tiny", StringComparison.Ordinal)
            ? new TinyResNet(new() { Depth = 9, Planes = 4, ZeroInit = false, Stage = stage, Seed = 5, MemoryBudget = budget })
            : new ResNet(new()
            {
                Kind = name switch
                {
                    "tied" => ResNetKind.Tied,
                    "ordinary" => ResNetKind.Ordinary,
                    "torchvision" => ResNetKind.Torchvision,
                    _ => ResNetKind.Ode,
                },
                Size = NetworkSize.Custom([3, 2, 9, 2], bottleneck: name == "ode-bottleneck"),
                Planes = 4,
                Stage = stage,
                Seed = 5,
                MemoryBudget = budget,
            });
        return network.to(ScalarType.Float64);
    }

    private static List<Tensor> Step(nn.Module<Tensor, Tensor> network, Tensor x)
    {
        network.zero_grad();
        network.call(x).pow(2).mean().backward();
        return [.. network.parameters().Where(parameter => parameter.requires_grad).Select(parameter => parameter.grad!.clone())];
    }
}
