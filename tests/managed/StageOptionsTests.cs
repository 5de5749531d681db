using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class StageOptionsTests
{
    [Fact]
    public void Defaults_AreThoseOfTheDocumentation()
    {
        var options = new StageOptions();
        Assert.Equal((Solver.Euler, Reconstruction.Adaptive()), (options.Solver, options.Reconstruction));
        Assert.Equal((StageExecution.Auto, ComputeType.SameAsState), (options.Execution, options.ComputeType));
        Assert.Null(options.StepSize);
        Assert.Null(options.TapeBytes);
    }

    public static TheoryData<StageOptions, string> Wrong => new()
    {
        { new StageOptions { StepSize = 0 }, "StepSize is 0, expected a positive number" },
        { new StageOptions { StepSize = -1 }, "StepSize is -1" },
        { new StageOptions { StepSize = double.NaN }, "StepSize is NaN" },
        { new StageOptions { StepSize = double.PositiveInfinity }, "StepSize is Infinity" },
        { new StageOptions { TapeBytes = 0 }, "TapeBytes is 0, expected a positive number of bytes" },
        { new StageOptions { TapeBytes = -1 }, "TapeBytes is -1" },
        { new StageOptions { Reconstruction = null! }, "Reconstruction is null" },
        { new StageOptions { Solver = null! }, "Solver is null" },
        { new StageOptions { Execution = (StageExecution)7 }, "Execution is 7, expected one of Auto, Layers, Callback" },
        { new StageOptions { ComputeType = (ComputeType)7 }, "ComputeType is 7, expected one of SameAsState, BFloat16" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void WrongValues_AreNamed(StageOptions options, string message) =>
        Assert.Contains(
            message,
            Assert.Throws<ArgumentException>(
                () => new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), options)).Message);

    [Fact]
    public void Null_StandsForTheDefaultsInAConstructorAlone()
    {
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), null);
        Assert.Equal(new StageOptions(), stage.Options);
        Assert.Throws<ArgumentNullException>(() => stage.Options = null!);
    }

    [Fact]
    public void CudaGraphs_NeedNativeLayersAndCuda()
    {
        using var scope = NewDisposeScope();
        var options = new StageOptions { CudaGraphs = true };
        var functions = Truth.Functions(2, () => Truth.LinearFunction(4));
        var error = Assert.Throws<ArgumentException>(
            () => new ResidualStage(functions, options with { Execution = StageExecution.Callback }));
        Assert.Contains("CudaGraphs needs native layers", error.Message);
        using var stage = new ResidualStage(functions, options);
        var refused = Assert.Throws<ResNetNodesException>(() => stage.call(Truth.Normal(1, 3, 4)));
        Assert.Contains("cuda_graphs needs CUDA tensors, x is on cpu", refused.Message);
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void Options_AreCheckedWhenSetAndLeftAsTheyWere(StageExecution execution)
    {
        var good = new StageOptions { Execution = execution };
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), good);
        StageOptions[] bad =
        [
            good with { StepSize = -1 }, good with { StepSize = double.NaN }, good with { Solver = null! },
            good with { Execution = (StageExecution)9 }, good with { Reconstruction = null! }
        ];
        foreach (var options in bad)
        {
            Assert.Throws<ArgumentException>(() => stage.Options = options);
            Assert.Equal(good, stage.Options);
        }

        Assert.Throws<ArgumentNullException>(() => stage.Options = null!);
        Assert.Throws<ArgumentNullException>(() => new ResidualStage(null!));
        Assert.Contains("function 1", Assert.Throws<ArgumentException>(() => new ResidualStage([nn.Linear(4, 4), null!])).Message);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(1L)]
    [InlineData(1L << 40)]
    public void TapeBytes_AreReadAsTheyWereSet(long? bytes)
    {
        using var recomputed = new Recomputed(Truth.LinearFunction(4), new RecomputedOptions { TapeBytes = bytes });
        using var stage = new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4)), new StageOptions { TapeBytes = bytes });
        Assert.Equal((bytes, bytes), (recomputed.Options.TapeBytes, stage.Options.TapeBytes));
        recomputed.Options = new RecomputedOptions { TapeBytes = 7, Stored = true };
        stage.Options = stage.Options with { TapeBytes = 7 };
        Assert.Equal(new RecomputedOptions { TapeBytes = 7, Stored = true }, recomputed.Options);
        Assert.Equal(7, stage.Options.TapeBytes);
        var refused = Assert.Throws<ArgumentException>(() => recomputed.Options = new RecomputedOptions { TapeBytes = 0 });
        Assert.Contains("TapeBytes is 0", refused.Message);
        Assert.Equal(7, recomputed.Options.TapeBytes);
    }
}
