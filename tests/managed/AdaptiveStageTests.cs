using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>The default reconstruction, native and by callback: right in every pass, and cheaper from pass to pass.</summary>
public sealed class AdaptiveStageTests
{
    public static TheoryData<StageExecution, string, double> Stages
    {
        get
        {
            var data = new TheoryData<StageExecution, string, double>();
            foreach (var execution in new[] { StageExecution.Layers, StageExecution.Callback })
            {
                foreach (var solver in Solver.All)
                {
                    foreach (var scale in new[] { 1.0, 8.0, 64.0 })
                    {
                        data.Add(execution, solver.Name, scale);
                    }
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Stages))]
    public void Gradients_AreThoseOfAutogradHoweverLargeTheFunctions(StageExecution execution, string solver, double scale)
    {
        using var scope = NewDisposeScope();
        const int depth = 7;
        var functions = Truth.Functions(depth, () => Truth.LinearFunction(6));
        var options = new StageOptions { Solver = Solver.Parse(solver), Execution = execution, StepSize = scale / depth };
        using var stage = new ResidualStage(functions, options);
        using var stored = new ResidualStage(functions, options with { Reconstruction = Reconstruction.Backprop });
        var x = Truth.Normal(1, 5, 6).requires_grad_(true);
        Tensor[] leaves = [x, .. stage.parameters()];
        List<Tensor> Gradients(ResidualStage one)
        {
            one.call(x).sum().backward();
            return Truth.TakeGradients(leaves);
        }

        var truth = cat([.. Gradients(stored).Select(g => g.flatten())]);
        var most = (int)(2 * Math.Sqrt(stage.LastReport?.Steps.Count ?? depth));
        for (var pass = 0; pass < 4; pass++)
        {
            var found = cat([.. Gradients(stage).Select(g => g.flatten())]);
            var report = stage.LastReport!;
            Assert.InRange(Truth.RelativeError(found, truth), 0, 4e-3);
            Assert.InRange(report.Error!.Value, 0, 1e-3);
            Assert.InRange(report.Steps.Count(step => step.Source == StateSource.Kept), 1, most);
        }
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void Steps_AreLearnedFromPassToPass(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        using var stage = Rough(execution);
        stage.call(Truth.Normal(1, 5, 6)).sum().backward();
        var first = stage.LastReport!;
        Assert.Equal(1, first.Steps.Count(step => step.Source == StateSource.Kept));
        Assert.Contains(first.Steps, step => step.Source == StateSource.Replayed);
        Assert.Equal(first.Evaluations, first.Steps.Sum(step => step.Evaluations));
        stage.call(Truth.Normal(2, 5, 6)).sum().backward();
        stage.call(Truth.Normal(3, 5, 6)).sum().backward();
        var later = stage.LastReport!;
        Assert.True(later.Steps.Count(step => step.Source == StateSource.Kept) > 1);
        Assert.True(later.Evaluations < first.Evaluations, $"{later.Evaluations} after {first.Evaluations}");
    }

    [Fact]
    public void Learned_OutlastsOptionsThatHaveNothingToDoWithIt()
    {
        using var scope = NewDisposeScope();
        using var stage = Rough(StageExecution.Layers);
        for (var pass = 0; pass < 3; pass++)
        {
            stage.call(Truth.Normal(pass, 5, 6)).sum().backward();
        }

        var kept = stage.LastReport!.Steps.Select(step => step.Source).ToList();
        stage.Options = stage.Options with { ReportReconstructionError = true };
        stage.call(Truth.Normal(4, 5, 6)).sum().backward();
        Assert.Equal(kept, stage.LastReport!.Steps.Select(step => step.Source));
        // Another method learns for itself, or nothing.
        stage.Options = stage.Options with { Reconstruction = Reconstruction.Corrected() };
        stage.Options = stage.Options with { Reconstruction = Reconstruction.Adaptive() };
        stage.call(Truth.Normal(4, 5, 6)).sum().backward();
        Assert.NotEqual(kept, stage.LastReport!.Steps.Select(step => step.Source));
    }

    [Fact]
    public void StatesThatAreNotFinite_AreRefused()
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(Truth.Functions(5, () => Truth.LinearFunction(6)));
        var x = full(5, 6, double.NaN, ScalarType.Float64);
        var error = Assert.Throws<ResNetNodesException>(() => stage.call(x).sum().BackwardThroughStages());
        Assert.Contains("stage of 5 steps, step 4: its state or increment is not finite", error.Message);
    }

    // A few steps that no fixed point can find.
    private static ResidualStage Rough(StageExecution execution)
    {
        var functions = Truth.Functions(16, () => Truth.LinearFunction(6));
        using var guard = no_grad();
        foreach (var parameter in functions.Skip(8).Take(3).SelectMany(f => f.parameters()))
        {
            parameter.mul_(20);
        }

        return new ResidualStage(functions, new StageOptions { Execution = execution });
    }
}
