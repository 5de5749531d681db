using ResNetNodes.Data;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class BatchTests
{
    [Fact]
    public void On_TheCpuIsTheBatchItself()
    {
        using var batch = new Batch(zeros(2, 3, 4, 4), zeros(2, ScalarType.Int64), 7);
        Assert.Equal((batch.Images, batch.Labels), batch.On(CPU));
        Assert.Equal((2, 7), (batch.Count, batch.Index));
        Assert.Throws<ArgumentNullException>(() => batch.On(null!));
    }

    [Fact]
    public void Dispose_DisposesBoth()
    {
        var batch = new Batch(zeros(2, 3, 4, 4), zeros(2, ScalarType.Int64), 0);
        batch.Dispose();
        Assert.True(batch.Images.IsInvalid);
        Assert.True(batch.Labels.IsInvalid);
    }
}
