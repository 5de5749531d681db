using ResNetNodes.Interop;
using ResNetNodes.Stages.Engine;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class LayerMappingTests
{
    private static readonly Dictionary<string, Func<nn.Module<Tensor, Tensor>>> Known = new()
    {
        ["plain convolution"] = () => nn.Conv2d(4, 4, 3, padding: 1),
        ["unequal kernel"] = () => nn.Conv2d(4, 4, (3, 5), padding: (1, 2)),
        ["dilated, grouped, no bias"] = () => nn.Conv2d(4, 4, 3, padding: 2, dilation: 2, groups: 2, bias: false),
        ["batch normalization without weights"] = () => nn.BatchNorm2d(4, affine: false),
        ["batch normalization of its batch alone"] = () => nn.BatchNorm2d(4, track_running_stats: false),
        ["other epsilon and momentum"] = () => nn.BatchNorm2d(4, eps: 0.1, momentum: 0.5),
        ["linear without bias, on the last dimension"] = () => nn.Linear(6, 6, hasBias: false),
        ["nested"] = () => nn.Sequential(nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 1)), nn.Tanh()),
        ["gelu"] = () => nn.GELU(),
        ["identity"] = () => nn.Identity(),
    };

    private static readonly Dictionary<string, (Func<nn.Module<Tensor, Tensor>> Make, string Reason)> Unknown = new()
    {
        ["stride"] = (() => nn.Conv2d(4, 4, 1, stride: 2), "stride"),
        ["reflection"] = (() => nn.Conv2d(4, 4, 3, padding: 1, padding_mode: PaddingModes.Reflect), "padding mode"),
        ["other module"] = (() => nn.Softplus(), "is not one of"),
    };

    public static TheoryData<string> KnownNames => [.. Known.Keys];

    public static TheoryData<string> UnknownNames => [.. Unknown.Keys];

    [Theory]
    [MemberData(nameof(KnownNames))]
    public void KnownModules_RunTheSameAsLayers(string name)
    {
        using var scope = NewDisposeScope();
        var functions = Truth.Functions(3, Known[name]);
        using var stage = new ResidualStage(functions, new StageOptions { Execution = StageExecution.Layers });
        var x = Truth.Normal(1, 2, 4, 6, 6);
        foreach (var training in new[] { true, false })
        {
            stage.train(training);
            Assert.True(Truth.RelativeError(stage.call(x), Truth.Forward(functions, 3, Solver.Euler, x)) < 1e-12);
        }
    }

    [Theory]
    [MemberData(nameof(UnknownNames))]
    public void OtherModules_AreRefusedWithTheReason(string name)
    {
        var (make, reason) = Unknown[name];
        var error = Assert.Throws<ArgumentException>(() => new ResidualStage(Truth.Functions(1, make), new StageOptions { Execution = StageExecution.Layers }));
        Assert.Contains(reason, error.Message);
    }

    /// <summary>A layer that the native engine has and this table has not would never be reached by a module.</summary>
    [Fact]
    public void EveryKindOfLayer_HasARow() =>
        Assert.Equal(Enum.GetValues<LayerKind>().Order(), LayerTable.Rows.Select(row => row.Kind).Order());

    [Fact]
    public void Refusals_ListTheKnownModules()
    {
        Assert.Null(LayerMapping.TryMap([nn.Softplus()], out var reason));
        Assert.StartsWith("function 0: Softplus is not one of Conv2d, Linear, ", reason);
        Assert.All(LayerTable.Rows, row => Assert.Contains(row.Name, reason));
        Assert.Null(LayerMapping.TryMap([nn.ReLU(), nn.Sequential()], out reason));
        Assert.Equal("function 1 has no layers", reason);
    }
}
