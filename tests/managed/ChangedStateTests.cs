using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>
/// What the way back reads may be changed between the two passes: then the gradient is that of the forward pass all the same, or it is
/// refused by name. Never another one.
/// </summary>
public sealed class ChangedStateTests
{
    private static readonly string[] Methods = ["backprop", "checkpoint", "corrected:40", "adaptive:1e-12"];

    public static TheoryData<StageExecution, string> Products()
    {
        var data = new TheoryData<StageExecution, string>();
        foreach (var execution in new[] { StageExecution.Layers, StageExecution.Callback })
        {
            foreach (var method in Methods)
            {
                data.Add(execution, method);
            }
        }

        return data;
    }

    public static TheoryData<string> Called => [.. Methods];

    [Theory]
    [MemberData(nameof(Products))]
    public void Parameters_ChangedInPlaceAreRefused(StageExecution execution, string method)
    {
        using var scope = NewDisposeScope();
        using var stage = Stage(execution, method);
        foreach (var parameter in stage.parameters())
        {
            var loss = stage.call(Truth.Normal(1, 4, 6).requires_grad_(true)).pow(2).sum();
            using (no_grad())
            {
                parameter.mul_(2);
            }

            var error = Assert.Throws<ResNetNodesException>(loss.BackwardThroughStages);
            Assert.Contains("in place since the forward pass", error.Message);
            Assert.DoesNotContain('\n', error.Message);
        }
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void Input_ChangedInPlaceIsRefusedOrDoesNotMatter(StageExecution execution, string method)
    {
        using var scope = NewDisposeScope();
        foreach (var reports in new[] { false, true })
        {
            using var stage = Stage(execution, method, options => options with { ReportReconstructionError = reports });
            var leaf = Truth.Normal(1, 4, 6).requires_grad_(true);
            var truth = TrueGradient(stage, leaf);
            var x = leaf.clone();
            var loss = stage.call(x).pow(2).sum();
            using (no_grad())
            {
                x.mul_(2);
            }

            try
            {
                loss.BackwardThroughStages();
                Near(truth, leaf.grad!, method);
                Assert.False(reports, "the error of the input was reported against another input");
            }
            catch (ResNetNodesException error)
            {
                Assert.Contains("x was changed in place since the forward pass", error.Message);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Called))]
    public void Condition_ChangedInPlaceIsRefused(string method)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        using var stage = ConditionedStage.Shared(new ConditionedFunction(), 3, Truth.Options(method));
        var condition = Truth.Normal(2, 4, 6);
        var loss = stage.call(Truth.Normal(1, 4, 6).requires_grad_(true), condition).sum();
        condition.mul_(2);
        Assert.StartsWith("the condition was changed in place", Assert.Throws<ResNetNodesException>(loss.BackwardThroughStages).Message);
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void Options_ChangedBetweenCountFromTheNextPassOn(StageExecution execution, string method)
    {
        using var scope = NewDisposeScope();
        using var stage = Stage(execution, method);
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        var truth = TrueGradient(stage, x);
        var loss = stage.call(x).pow(2).sum();
        stage.Options = stage.Options with { Solver = Solver.Heun, StepSize = 0.9, Reconstruction = Reconstruction.Inverse };
        loss.BackwardThroughStages();
        Near(truth, x.grad!, method);
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void Modules_ConvertedBetweenGiveTheSameGradientOrAreRefused(StageExecution execution, string method)
    {
        using var scope = NewDisposeScope();
        using var stage = Stage(execution, method);
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        var truth = TrueGradient(stage, x);
        var loss = stage.call(x).pow(2).sum();
        stage.to(ScalarType.Float32);
        if (execution == StageExecution.Callback)
        {
            Assert.Contains("was replaced since the forward pass", Assert.Throws<ResNetNodesException>(loss.BackwardThroughStages).Message);
            return;
        }

        loss.BackwardThroughStages();
        Near(truth, x.grad!, method);
    }

    public static TheoryData<string> Changes => [.. Changing.Keys];

    private static Dictionary<string, (Action<Sequential> Change, string Message)> Changing { get; } = new()
    {
        ["a dropout's p"] = (f => f.modules().OfType<Dropout>().Single().p = 0.9, "settings"),
        ["a flag of an activation"] = (f => f.modules().OfType<ReLU>().Single().inplace = true, "settings"),
        ["a norm's eps"] = (f => f.modules().OfType<BatchNorm1d>().Single().eps = 0.5, "settings"),
        ["a module appended"] = (f => f.append(nn.Tanh()), "the modules of function 1"),
        ["a hook"] = (f => f.register_forward_hook((_, _, y) => y * 2), "hooks"),
        ["a weight replaced"] = (
            f => f.modules().OfType<Linear>().First().weight = new Parameter(randn(6, 6, dtype: ScalarType.Float64)), "parameter 'weight'"),
        ["a user's setting"] = (f => f.modules().OfType<Scaling>().Single().Factor = 2, "settings"),
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void Modules_ChangedBetweenAreRefusedByName(string what)
    {
        using var scope = NewDisposeScope();
        foreach (var method in Methods)
        {
            var functions = Truth.Functions(3, () => nn.Sequential(
                nn.Linear(6, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Dropout(0.1), new Scaling(), nn.Linear(6, 6)));
            using var stage = new ResidualStage(functions, Truth.Options(method));
            var loss = stage.call(Truth.Normal(1, 4, 6).requires_grad_(true)).sum();
            Changing[what].Change((Sequential)functions[1]);
            var error = Assert.Throws<ResNetNodesException>(loss.BackwardThroughStages);
            Assert.Contains(Changing[what].Message, error.Message);
            Assert.Contains("function 1", error.Message);
        }
    }

    /// <summary>Another pass, of another size, may come between: what a function notes for itself is no change of its user's.</summary>
    [Theory]
    [MemberData(nameof(Called))]
    public void WhatAFunctionNotesForItself_MayDiffer(string method)
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(3, () => new Noting()), Truth.Options(method));
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        stage.call(x).pow(2).sum().backward();
        x.grad = null;
        var truth = TrueGradient(stage, x);
        var loss = stage.call(x).pow(2).sum();
        using (no_grad())
        {
            stage.call(Truth.Normal(1, 9, 6));
        }

        loss.BackwardThroughStages();
        Near(truth, x.grad!, method);
    }

    [Theory]
    [InlineData("dropout")]
    [InlineData("batch norm")]
    [InlineData("frozen batch norm")]
    public void Modes_SwitchedBetweenAreThoseOfTheForwardPass(string what)
    {
        using var scope = NewDisposeScope();
        nn.Module<Tensor, Tensor> Make() => what == "dropout"
            ? nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 6)))
            : nn.Sequential(nn.Linear(6, 16), nn.Sequential(nn.BatchNorm1d(16), nn.Tanh()), nn.Linear(16, 6));
        foreach (var method in Methods)
        {
            using var stage = new ResidualStage(Truth.Functions(4, Make), Truth.Options(method));
            var x = Truth.Normal(1, 8, 6).requires_grad_(true);
            Tensor Gradient(Action change)
            {
                stage.train();
                var frozen = what.StartsWith("frozen", StringComparison.Ordinal) ? 2 : 0;
                stage.modules().OfType<BatchNorm1d>().Take(frozen).ToList().ForEach(n => n.eval());
                random.manual_seed(11);
                var loss = stage.call(x).pow(2).sum();
                change();
                var modes = stage.modules().Select(m => m.training).ToList();
                loss.BackwardThroughStages();
                Assert.Equal(modes, stage.modules().Select(m => m.training));
                return Truth.TakeGradients([x])[0];
            }

            var truth = Gradient(() => { });
            Assert.Equal(0.0, Truth.RelativeError(Gradient(() => stage.eval()), truth));
            Assert.Equal(0.0, Truth.RelativeError(Gradient(() => stage.train()), truth));
            Assert.Equal(0.0, Truth.RelativeError(Gradient(() => stage.modules().OfType<Sequential>().Last().eval()), truth));
        }
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void Parameters_FrozenOrThawedBetweenGetWhatAutogradGives(StageExecution execution, string method)
    {
        using var scope = NewDisposeScope();
        using var stage = Stage(execution, method);
        var parameters = stage.parameters().ToList();
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        List<Tensor?> Gradients(Func<Tensor, Tensor> forward)
        {
            parameters.ForEach(p => p.requires_grad_(true));
            parameters[1].requires_grad_(false);
            var loss = forward(x).pow(2).sum();
            parameters[1].requires_grad_(true);
            parameters[2].requires_grad_(false);
            loss.backward();
            Assert.Equal([true, false], parameters.Skip(1).Take(2).Select(p => p.requires_grad));
            List<Tensor?> found = [.. parameters.Prepend(x).Select(leaf => leaf.grad?.clone())];
            parameters.Prepend(x).ToList().ForEach(leaf => leaf.grad = null);
            return found;
        }

        var truth = Gradients(state => Truth.Forward([.. stage.Functions.Cast<nn.Module<Tensor, Tensor>>()], 4, Solver.Euler, state));
        foreach (var (found, expected) in Gradients(stage.call).Zip(truth))
        {
            Assert.Equal(expected is null, found is null);
            if (expected is not null)
            {
                Near(expected, found!, method);
            }
        }
    }

    /// <summary>A power iteration, as spectral normalization has it: a buffer that each evaluation reads and changes.</summary>
    [Theory]
    [MemberData(nameof(Called))]
    public void Buffers_ThatFunctionsChangeAreReadAsTheForwardPassReadThem(string method)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var function = new Iterated();
        using var stage = ResidualStage.Shared(function, 4, Truth.Options(method));
        var x = Truth.Normal(1, 5, 4).requires_grad_(true);
        stage.call(x).pow(2).sum().backward();
        var (found, left) = (Truth.TakeGradients([x, .. stage.parameters()]), function.Vector.clone());
        function.Restart();
        Tensor y = x;
        for (var n = 0; n < 4; n++)
        {
            y = y + (function.call(y) / 4);
        }

        y.pow(2).sum().backward();
        Assert.True(Truth.RelativeError(left, function.Vector) < 1e-15);
        foreach (var (gradient, truth) in found.Zip(Truth.TakeGradients([x, .. stage.parameters()])))
        {
            Near(truth, gradient, method);
        }
    }

    [Theory]
    [MemberData(nameof(Products))]
    public void AnInPlaceFirstLayer_LeavesTheStateAlone(StageExecution execution, string method)
    {
        using var scope = NewDisposeScope();
        nn.Module<Tensor, Tensor> Make(bool inPlace) =>
            nn.Sequential(nn.ReLU(inplace: inPlace), nn.Linear(6, 6), nn.ReLU(inplace: inPlace));
        using var stage = new ResidualStage(Truth.Functions(4, () => Make(true)), Truth.Options(method) with { Execution = execution });
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        var y = Truth.Forward(Truth.Functions(4, () => Make(false)), 4, Solver.Euler, x);
        y.pow(2).sum().backward();
        var truth = Truth.TakeGradients([x])[0];
        var before = x.detach().clone();
        for (var time = 0; time < 2; time++)
        {
            using (no_grad())
            {
                Assert.True(Truth.RelativeError(stage.call(x), y) < 1e-14);
                Assert.Equal(0.0, (x - before).abs().max().item<double>());
            }

            stage.call(x).pow(2).sum().backward();
            Near(truth, Truth.TakeGradients([x])[0], method);
            Assert.Equal(0.0, (x - before).abs().max().item<double>());
        }
    }

    private static ResidualStage Stage(StageExecution execution, string method, Func<StageOptions, StageOptions>? change = null)
    {
        var options = Truth.Options(method) with { Execution = execution };
        return new ResidualStage(Truth.Functions(4, () => Truth.LinearFunction(6)), change?.Invoke(options) ?? options);
    }

    private static Tensor TrueGradient(ResidualStage stage, Tensor x)
    {
        var functions = stage.Functions.Cast<nn.Module<Tensor, Tensor>>().ToList();
        Truth.Forward(functions, functions.Count, Solver.Euler, x).pow(2).sum().backward();
        return Truth.TakeGradients([x])[0];
    }

    // adaptive's iterations are limited; what is tested for would be off by 0.2 and more.
    private static void Near(Tensor expected, Tensor found, string method) =>
        Assert.InRange(Truth.RelativeError(found, expected), 0, method.StartsWith("adaptive", StringComparison.Ordinal) ? 1e-5 : 1e-9);

    private sealed class Scaling : nn.Module<Tensor, Tensor>
    {
        public Scaling()
            : base(nameof(Scaling)) => RegisterComponents();

        public double Factor { get; set; } = 1;

        public override Tensor forward(Tensor input) => input * Factor;
    }

    // Makes its layer when it first runs, and notes the batch's size.
    private sealed class Noting() : nn.Module<Tensor, Tensor>(nameof(Noting))
    {
        private Linear? made;
        private long size;

        public long Size => size;

        public override Tensor forward(Tensor input)
        {
            size = input.shape[0];
            if (made is null)
            {
                made = nn.Linear(6, 6, dtype: ScalarType.Float64);
                register_module(nameof(made), made);
            }

            return tanh(made.call(input));
        }
    }

    private sealed class Iterated : nn.Module<Tensor, Tensor>
    {
        private readonly Parameter weight = new(randn(4, 4, dtype: ScalarType.Float64));
        private readonly Tensor vector = ones(4, dtype: ScalarType.Float64);
        private int calls;

        public Iterated()
            : base(nameof(Iterated))
        {
            register_buffer(nameof(vector), vector);
            RegisterComponents();
        }

        public Tensor Vector => vector;

        public int Calls => calls;

        public void Restart() => vector.fill_(1);

        public override Tensor forward(Tensor input)
        {
            calls++;
            using (no_grad())
            {
                var next = weight.matmul(vector);
                vector.copy_(next / next.norm());
            }

            return tanh(input.matmul(weight / weight.matmul(vector.clone()).norm()));
        }
    }
}
