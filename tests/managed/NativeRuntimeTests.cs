using Xunit;

namespace ResNetNodes.Tests;

public sealed class NativeRuntimeTests
{
    [Fact]
    public void Version_IsTheProducts() =>
        Assert.Equal(File.ReadAllText(Path.Combine(ConventionTests.Root, "VERSION")).Trim(), NativeRuntime.Version);

    [Fact]
    public void KernelPaths_HoldTheActiveOneAndEndWithThePortable()
    {
        Assert.Contains(NativeRuntime.ActiveKernelPath, NativeRuntime.KernelPaths);
        Assert.Equal("portable", NativeRuntime.KernelPaths[^1]);
    }

    [Fact]
    public void LiveObjects_CountsStages()
    {
        LeakTests.FinalizeOthers();
        var before = NativeRuntime.LiveObjects;
        using (new ResidualStage(Truth.Functions(2, () => Truth.LinearFunction(4))))
        {
            Assert.Equal(before + 1, NativeRuntime.LiveObjects);
        }

        Assert.Equal(before, NativeRuntime.LiveObjects);
    }
}
