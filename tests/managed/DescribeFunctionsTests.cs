using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>
/// <see cref="ResidualStage.DescribeFunctions"/>. Which shapes are fused depends on the machine's kernel path and the variable
/// RESNET_NODES_FUSED: tests name both where they expect a fused function.
/// </summary>
public sealed class DescribeFunctionsTests
{
    private static readonly string Path = NativeRuntime.ActiveKernelPath;

    // As the system tells of the processor.
    private static bool HasBFloat16 =>
        Path == "avx512" && File.ReadAllText("/proc/cpuinfo").Contains(" avx512_bf16", StringComparison.Ordinal);

    public static TheoryData<string, ScalarType, ComputeType, string> Cases => new()
    {
        { "convolutions", ScalarType.Float32, ComputeType.SameAsState, $"fused conv3x3-conv3x3, 16 channels, {Path}" },
        { "linear", ScalarType.Float32, ComputeType.SameAsState, $"fused linear-tanh-linear, 8 hidden, {Path}" },
        { "convolutions", ScalarType.Float64, ComputeType.SameAsState, "operators, channels_last" },
        { "linear", ScalarType.Float64, ComputeType.SameAsState, "operators" },
        {
            "convolutions", ScalarType.Float32, ComputeType.BFloat16,
            HasBFloat16 ? $"fused conv3x3-conv3x3, 16 channels, {Path}, bfloat16" : "operators, channels_last, bfloat16"
        },
        { "linear", ScalarType.Float32, ComputeType.BFloat16, "operators, bfloat16" },
        { "other", ScalarType.Float32, ComputeType.SameAsState, "callbacks" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Paths_AreThoseOfLayersTypeAndShape(string function, ScalarType type, ComputeType compute, string expected)
    {
        if (expected.StartsWith("fused", StringComparison.Ordinal) && Environment.GetEnvironmentVariable("RESNET_NODES_FUSED") == "off")
        {
            expected = (function == "linear" ? "operators" : "operators, channels_last")
                + (compute == ComputeType.BFloat16 ? ", bfloat16" : "");
        }

        using var scope = NewDisposeScope();
        using var stage = new ResidualStage(
            Enumerable.Range(0, 3).Select(_ => Function(function)), new StageOptions { ComputeType = compute });
        stage.to(type);
        var x = zeros(function == "convolutions" ? [2, 16, 10, 10] : [2, 20], type);
        Assert.Equal([expected, expected, expected], stage.DescribeFunctions(x));
    }

    [Fact]
    public void EachFunction_HasItsOwn()
    {
        using var scope = NewDisposeScope();
        using var stage = new ResidualStage([Function("linear"), nn.Sequential(nn.Linear(20, 20), nn.GELU())]);
        var paths = stage.DescribeFunctions(zeros(2, 20));
        Assert.Equal(2, paths.Count);
        Assert.Equal("operators", paths[1]);
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void ASharedFunction_IsOne(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        using var stage = ResidualStage.Shared(Function("linear"), 5, new StageOptions { Execution = execution });
        Assert.Single(stage.DescribeFunctions(zeros(2, 20)));
    }

    [Fact]
    public void Asking_LeavesNothingBehindAndChecksItsArgument()
    {
        using var scope = NewDisposeScope();
        var stage = new ResidualStage([Function("other")]);
        var x = zeros(2, 20);
        stage.DescribeFunctions(x);
        LeakTests.FinalizeOthers();
        var before = NativeRuntime.LiveObjects;
        stage.DescribeFunctions(x);
        Assert.Equal(before, NativeRuntime.LiveObjects);
        Assert.Throws<ArgumentNullException>(() => stage.DescribeFunctions(null!));
        stage.Dispose();
        Assert.Throws<ObjectDisposedException>(() => stage.DescribeFunctions(x));
    }

    private static nn.Module<Tensor, Tensor> Function(string name) => name switch
    {
        "convolutions" => Truth.TinyFunction(16),
        "linear" => nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 20)),
        _ => nn.Sequential(nn.Linear(20, 20), nn.Softplus()),
    };
}
