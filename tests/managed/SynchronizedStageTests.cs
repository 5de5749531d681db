using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Which stages may take the batch statistics of all ranks; what those are is tests/native/sync_norms_test.cpp's.</summary>
public sealed class SynchronizedStageTests
{
    [Fact]
    public void NativeLayers_CanBe()
    {
        using var stage = ResidualStage.Shared(Norm(), 2);
        using var alone = new Recomputed(Norm());
        Assert.All(new IRankedStage[] { stage, alone }, s => Assert.True(s.CanSynchronize));
    }

    [Fact]
    public void CalledModules_CanNot()
    {
        using var stage = ResidualStage.Shared(Norm(), 2, new StageOptions { Execution = StageExecution.Callback });
        using var hooked = Norm();
        hooked.register_forward_hook((_, _, y) => y);
        using var alone = new Recomputed(hooked);
        Assert.All(new IRankedStage[] { stage, alone }, s => Assert.False(s.CanSynchronize));
    }

    [Fact]
    public void WithoutRanks_AStageIsAsBefore()
    {
        using var stage = ResidualStage.Shared(Norm(), 2);
        using var x = rand(3, 4, 2, 2);
        using var before = stage.call(x);
        ((IRankedStage)stage).Synchronize(null);
        using var after = stage.call(x);
        Assert.True(before.equal(after).all().item<bool>());
    }

    [Fact]
    public void Of_NamesTheStagesOfANetwork()
    {
        using var network = nn.Sequential(("stem", new Recomputed(Norm())), ("stage", ResidualStage.Shared(Norm(), 2)));
        Assert.Equal(["stem", "stage"], IRankedStage.Of(network).Select(s => s.Name));
    }

    private static TorchSharp.Modules.Sequential Norm() => nn.Sequential(nn.BatchNorm2d(4));
}
