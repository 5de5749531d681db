using System.Globalization;
using ResNetNodes.Measuring;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class MemoryProbeTests
{
    /// <summary>64 MiB, in a process of its own; what the run times take meanwhile is small against them.</summary>
    [Fact]
    public void Measure_FindsWhatAStepTakes()
    {
        var (peak, own) =
            TestProcess.Run("step", "64").Select(line => long.Parse(line, CultureInfo.InvariantCulture)).ToList()
                is [var first, var second] ? (first, second) : default;
        Assert.InRange(own, 63L << 20, 72L << 20);
        Assert.InRange(peak, own, long.MaxValue);
    }

    [Fact]
    public void PeakBytesOn_TheCpuIsTheProcesss()
    {
        MemoryProbe.ResetPeak();
        using var large = ones(16 << 20);
        Assert.InRange(MemoryProbe.PeakBytesOn(CPU), 4L * (16 << 20), long.MaxValue);
        Assert.InRange(MemoryProbe.ResidentBytes, 4L * (16 << 20), MemoryProbe.PeakBytes);
    }
}
