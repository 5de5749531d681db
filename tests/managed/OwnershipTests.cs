using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Tensors live as long as their owners want: users' are not disposed, and what a stage holds goes with its call.</summary>
public sealed class OwnershipTests
{
    private static readonly string[] Methods = ["backprop", "checkpoint", "corrected:40", "corrected:30"];

    public static TheoryData<string> MethodNames => [.. Methods];

    [Theory]
    [MemberData(nameof(MethodNames))]
    public void WhatAFunctionKeeps_StaysAlive(string method)
    {
        using var scope = NewDisposeScope();
        foreach (var keeps in Enum.GetValues<Keep>())
        {
            random.manual_seed(3);
            var function = new Keeping(keeps);
            using var stage = ResidualStage.Shared(function, 3, Truth.Options(method));
            var x = Truth.Normal(1, 4, 6).requires_grad_(true);
            var truth = Truth.Forward([function], 3, Solver.Euler, x);
            truth.pow(2).sum().backward();
            var expected = Truth.TakeGradients([x, .. stage.parameters()]);
            function.Forget();
            for (var time = 0; time < 2; time++)
            {
                var output = stage.call(x);
                Assert.True(Truth.RelativeError(output, truth) < 1e-14);
                output.pow(2).sum().backward();
                Assert.All(
                    Truth.TakeGradients([x, .. stage.parameters()]).Zip(expected),
                    pair => Assert.True((pair.First - pair.Second).norm().item<double>() < 1e-9, $"{keeps}"));
            }

            Assert.All(function.Kept(), kept => Assert.False(kept.IsInvalid));
        }
    }

    [Theory]
    [MemberData(nameof(MethodNames))]
    public void WhatAFunctionReturns_StaysItsOwn(string method)
    {
        using var scope = NewDisposeScope();
        var drift = Enumerable.Range(0, 3).Select(_ => new Drift()).ToList();
        using var stage = new ResidualStage(drift, Truth.Options(method));
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        var y = stage.call(x);
        Assert.True(Truth.RelativeError(y, drift.Aggregate((Tensor)x, (state, d) => state + (d.V / 3))) < 1e-15);
        y.sum().backward();
        Assert.All(drift, d => Assert.True(Truth.RelativeError(d.V.grad!, full(4, 6, 1.0 / 3, ScalarType.Float64)) < 1e-14));
        Assert.Equal(0.0, (x.grad! - 1).abs().max().item<double>());

        using var conditioned = ConditionedStage.Shared(new Second(), 2, Truth.Options(method));
        var condition = Truth.Normal(2, 4, 6).requires_grad_(true);
        conditioned.call(x, condition).sum().backward();
        using (no_grad())
        {
            conditioned.call(x, condition);
        }

        Assert.Equal(0.0, (condition.grad! - 1).abs().max().item<double>());
        using var identity = ResidualStage.Shared(new Same(), 2, Truth.Options(method));
        identity.call(x).sum().backward();
        Assert.False(x.IsInvalid);
    }

    [Theory]
    [MemberData(nameof(MethodNames))]
    public void AConditionOfAnInnerScope_IsThereOnTheWayBack(string method)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        using var stage = ConditionedStage.Shared(new ConditionedFunction(), 3, Truth.Options(method));
        var (x, source) = (Truth.Normal(1, 4, 6).requires_grad_(true), Truth.Normal(2, 4, 6).requires_grad_(true));
        Tensor Plain()
        {
            var (state, condition) = ((Tensor)x, source * 2);
            for (var n = 0; n < 3; n++)
            {
                state = state + (((ConditionedFunction)stage.modules().OfType<ConditionedFunction>().Single()).call(state, condition) / 3);
            }

            return state;
        }

        Plain().pow(2).sum().backward();
        var truth = Truth.TakeGradients([x, source, .. stage.parameters()]);
        Tensor output;
        using (var inner = NewDisposeScope())
        {
            output = stage.call(x, source * 2).MoveToOuterDisposeScope();
        }

        output.pow(2).sum().backward();
        Assert.All(
            Truth.TakeGradients([x, source, .. stage.parameters()]).Zip(truth),
            pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-9));
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void AForwardPassThatIsDropped_LeavesNothing(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        foreach (var method in Methods)
        {
            var options = Truth.Options(method) with { Execution = execution };
            using var stage = new ResidualStage(Truth.Functions(4, () => Truth.LinearFunction(6)), options);
            Drop(stage);
            // With the graph, not some time after it.
            var before = NativeRuntime.LiveObjects;
            for (var time = 0; time < 10; time++)
            {
                Drop(stage);
            }

            Assert.Equal(before, NativeRuntime.LiveObjects);
        }

        static void Drop(ResidualStage stage)
        {
            using var inner = NewDisposeScope();
            stage.call(Truth.Normal(1, 4, 6)).mean();
        }
    }

    [Theory]
    [MemberData(nameof(MethodNames))]
    public void AFunctionThatDifferentiatesInside_RunsAsWithoutAStage(string method)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var functions = Truth.Functions(3, () => new Force());
        using var stage = new ResidualStage(functions, Truth.Options(method));
        var x = Truth.Normal(1, 4, 6).requires_grad_(true);
        var y = Truth.Forward(functions, 3, Solver.Euler, x);
        y.pow(2).sum().backward();
        var truth = Truth.TakeGradients([x, .. stage.parameters()]);
        var found = stage.call(x);
        Assert.True(Truth.RelativeError(found, y) < 1e-14);
        found.pow(2).sum().backward();
        Assert.All(
            Truth.TakeGradients([x, .. stage.parameters()]).Zip(truth),
            pair => Assert.True(Truth.RelativeError(pair.First, pair.Second) < 1e-8));
    }

    [Fact]
    public void AFunctionThatReturnsNothing_IsNamed()
    {
        using var scope = NewDisposeScope();
        using var stage = ResidualStage.Shared(new Nothing(), 3);
        foreach (var x in new[] { randn(4, 6), randn(4, 6).requires_grad_(true) })
        {
            var error = Assert.Throws<ResNetNodesException>(() => stage.call(x));
            Assert.Equal("function 0 returned null, expected a tensor like its input", error.Message);
        }
    }

    private enum Keep
    {
        Field,
        ByShape,
        InAList,
        InATuple,
        InAClosure,
        InAnObject,
        InAStatic,
        InAPart,
    }

    // Caches a mask on the first call.
    private sealed class Keeping : nn.Module<Tensor, Tensor>
    {
        private static Tensor? shared;
        private readonly Keep how;
        private readonly Linear linear = nn.Linear(6, 6, dtype: ScalarType.Float64);
        private readonly Sequential parts = nn.Sequential(new Part());
        private readonly Dictionary<long, Tensor> byShape = [];
        private readonly List<Tensor> list = [];
        private readonly Box box = new();
        private readonly Func<Tensor> make;
        private Tensor? field;
        private (int Size, Tensor? Mask) tuple;
        private Action forget;

        public Keeping(Keep how)
            : base(nameof(Keeping))
        {
            this.how = how;
            Tensor? local = null;
            make = () => local ??= Mask();
            forget = () => local = null;
            RegisterComponents();
        }

        public IEnumerable<Tensor> Kept() =>
            new[] { field, tuple.Mask, box.Value, how == Keep.InAStatic ? shared : null }
                .OfType<Tensor>().Concat(list).Concat(byShape.Values);

        public void Forget()
        {
            field = box.Value = shared = tuple.Mask = null;
            byShape.Clear();
            list.Clear();
            forget();
            ((Part)parts.children().Single()).Forget();
        }

        public override Tensor forward(Tensor input)
        {
            if (how == Keep.InAPart)
            {
                return parts.call(linear.call(input)).tanh();
            }

            if (how == Keep.InAList && list.Count == 0)
            {
                list.Add(Mask());
            }

            if (how == Keep.ByShape && !byShape.ContainsKey(input.shape[^1]))
            {
                byShape[input.shape[^1]] = Mask();
            }

            var mask = how switch
            {
                Keep.Field => field ??= Mask(),
                Keep.ByShape => byShape[input.shape[^1]],
                Keep.InAList => list[0],
                Keep.InATuple => (tuple = (6, tuple.Mask ?? Mask())).Mask!,
                Keep.InAClosure => make(),
                Keep.InAnObject => box.Value ??= Mask(),
                _ => shared ??= Mask(),
            };
            return nn.functional.linear(input, linear.weight! * mask, linear.bias).tanh();
        }

        private static Tensor Mask() => ones(6, 6, ScalarType.Float64).tril();

        private sealed class Box
        {
            public Tensor? Value { get; set; }
        }

        private sealed class Part : nn.Module<Tensor, Tensor>
        {
            private Tensor? scale;

            public Part()
                : base(nameof(Part)) => RegisterComponents();

            public void Forget() => scale = null;

            public override Tensor forward(Tensor input) => input * (scale ??= full(6, 0.5, ScalarType.Float64));
        }
    }

    private sealed class Drift : nn.Module<Tensor, Tensor>
    {
        private readonly Parameter v = new(Truth.Normal(5, 4, 6));

        public Drift()
            : base(nameof(Drift)) => RegisterComponents();

        public Parameter V => v;

        public override Tensor forward(Tensor input) => v;
    }

    private sealed class Second() : nn.Module<Tensor, Tensor, Tensor>(nameof(Second))
    {
        public override Tensor forward(Tensor input1, Tensor input2) => input2;
    }

    private sealed class Same() : nn.Module<Tensor, Tensor>(nameof(Same))
    {
        public override Tensor forward(Tensor input) => input;
    }

    private sealed class Nothing() : nn.Module<Tensor, Tensor>(nameof(Nothing))
    {
        public override Tensor forward(Tensor input) => null!;
    }

    // Minus the gradient of an energy, as a Hamiltonian network computes it.
    private sealed class Force : nn.Module<Tensor, Tensor>
    {
        private readonly Linear linear = nn.Linear(6, 6);

        public Force()
            : base(nameof(Force)) => RegisterComponents();

        public override Tensor forward(Tensor input) =>
            -autograd.grad([tanh(linear.call(input)).pow(2).sum()], [input], retain_graph: true, create_graph: true)[0];
    }
}
