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
        ["largest of windows"] = () => nn.MaxPool2d(3, stride: 1, padding: 1),
        ["means of windows"] = () => nn.AvgPool2d(3, stride: 1, padding: 1),
        ["one block"] = () => new ResidualBlock(nn.Sequential(nn.Conv2d(4, 4, 3, padding: 1), nn.BatchNorm2d(4))),
        ["block with a shortcut between layers"] = () => nn.Sequential(
            nn.Conv2d(4, 6, 1), new ResidualBlock(nn.Conv2d(6, 5, 1), nn.Sequential(nn.Tanh(), nn.Conv2d(6, 5, 1))), nn.Conv2d(5, 4, 1)),
        ["block in a block"] = () => new ResidualBlock(new ResidualBlock(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), nn.Tanh()),
        ["block without layers"] = () => new ResidualBlock(nn.Sequential(), nn.Conv2d(4, 4, 1)),
    };

    private static readonly Dictionary<string, (Func<nn.Module<Tensor, Tensor>> Make, string Reason)> Unknown = new()
    {
        ["windows rounded up"] = (() => nn.MaxPool2d(3, stride: 1, padding: 1, ceil_mode: true), "ceil_mode"),
        ["windows rounded up, means"] = (() => nn.AvgPool2d(3, stride: 1, padding: 1, ceil_mode: true), "ceil_mode"),
        ["means without the padding"] = (() => nn.AvgPool2d(3, stride: 1, padding: 1, count_include_pad: false), "count_include_pad"),
        ["means by another number"] = (() => nn.AvgPool2d(3, stride: 1, padding: 1, divisor_override: 2), "divisor_override"),
        ["pooling to more than one value"] = (() => nn.AdaptiveAvgPool2d(2), "output size"),
        ["flattened batch"] = (() => nn.Flatten(0), "joins dimensions"),
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
        var error = Assert.Throws<ArgumentException>(
            () => new ResidualStage(Truth.Functions(1, make), new StageOptions { Execution = StageExecution.Layers }));
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
