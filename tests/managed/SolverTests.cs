using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>The table of solvers as users see it; a new row is covered by all tests but those that name a solver.</summary>
public sealed class SolverTests
{
    public static TheoryData<string> Names => [.. Solver.All.Select(solver => solver.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Parse_IsTheInverseOfPrint(string name)
    {
        Assert.Equal(name, Solver.Parse(name).ToString());
        Assert.Same(Solver.Parse(name), Solver.Parse($" {name.ToUpperInvariant()} "));
        Assert.True(Solver.TryParse(name, out var solver));
        Assert.Same(Solver.Parse(name), solver);
        Assert.NotEmpty(solver.Summary);
    }

    [Theory]
    [InlineData("huen", "did you mean heun?")]
    [InlineData("", "expected ")]
    [InlineData("rk4", "is unknown; expected euler, ")]
    public void Parse_RefusesOthers(string text, string message)
    {
        Assert.Contains(message, Assert.Throws<ArgumentException>(() => Solver.Parse(text)).Message);
        Assert.False(Solver.TryParse(text, out _));
        Assert.False(Solver.TryParse(null, out _));
    }

    [Fact]
    public void Defaults_AreTheFirstRow() => Assert.Same(Solver.All[0], new StageOptions().Solver);

    /// <summary>The three steps of the documentation, written by hand on scalars f_n(x) = w_n x.</summary>
    [Fact]
    public void Steps_AreThoseOfTheDocumentation()
    {
        double[] w = [0.7, -0.4, 0.9];
        const double x = 1.5, h = 1.0 / 3;
        var euler = x * (1 + (h * w[0])) * (1 + (h * w[1])) * (1 + (h * w[2]));
        var midpoint = w.Aggregate(x, (state, weight) => state + (h * weight * (state + (h / 2 * weight * state))));
        var heun = x;
        for (var n = 0; n < 2; n++)
        {
            var slope = w[n] * heun;
            heun += h / 2 * (slope + (w[n + 1] * (heun + (h * slope))));
        }

        Assert.Equal(euler, Run(Solver.Euler, w, x), 14);
        Assert.Equal(midpoint, Run(Solver.Midpoint, w, x), 14);
        Assert.Equal(heun, Run(Solver.Heun, w, x), 14);
    }

    /// <summary>x' = -x on [0, 1] in N steps of 1/N, whatever the number of functions: the slope of the error's logarithm.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Order_IsThatOfItsErrors(string name)
    {
        var solver = Solver.Parse(name);
        int[] sizes = [16, 32, 64, 128];
        var errors = sizes.Select(steps =>
        {
            var depth = steps + solver.FunctionOffsets.Max();
            Assert.Equal(steps, solver.StepCount(depth));
            return Math.Abs(Run(solver, [.. Enumerable.Repeat(-1.0, depth)], 1, 1.0 / steps) - Math.Exp(-1));
        }).ToList();
        var (x, y) = (sizes.Average(size => Math.Log(size)), errors.Average(Math.Log));
        var slope = sizes.Zip(errors).Sum(pair => (Math.Log(pair.First) - x) * (Math.Log(pair.Second) - y))
            / sizes.Sum(size => Math.Pow(Math.Log(size) - x, 2));
        Assert.Equal(solver.Order, -slope, 0.1);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void UseCounts_AreThoseOfAForwardPass(string name)
    {
        var solver = Solver.Parse(name);
        const int depth = 5;
        using var scope = NewDisposeScope();
        var functions = Enumerable.Range(0, depth).Select(_ => new Counted()).ToList();
        using var stage = new ResidualStage(functions, new StageOptions { Solver = solver });
        using (no_grad())
        {
            stage.call(ones(1, 2));
        }

        Assert.Equal(solver.UseCounts(depth), functions.Select(function => function.Calls));
        Assert.Equal(solver.StepCount(depth) * solver.EvaluationsPerStep, solver.UseCounts(depth).Sum());
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void StepCount_RefusesTooFewFunctions(string name)
    {
        var solver = Solver.Parse(name);
        Assert.Throws<ArgumentException>(() => solver.StepCount(solver.FunctionOffsets.Max()));
        Assert.Equal(1, solver.StepCount(solver.FunctionOffsets.Max() + 1));
    }

    private static double Run(Solver solver, double[] weights, double x, double? step = null)
    {
        using var scope = NewDisposeScope();
        var functions = weights.Select(weight =>
        {
            var linear = nn.Linear(1, 1, hasBias: false, dtype: ScalarType.Float64);
            using var guard = no_grad();
            linear.weight.fill_(weight);
            return linear;
        }).ToList();
        using var stage = new ResidualStage(functions, new StageOptions { Solver = solver, StepSize = step });
        return stage.call(full([1, 1], x, ScalarType.Float64)).item<double>();
    }

    private sealed class Counted() : nn.Module<Tensor, Tensor>(nameof(Counted))
    {
        public long Calls { get; private set; }

        public override Tensor forward(Tensor input)
        {
            Calls++;
            return input * 0.5;
        }
    }
}
