using ResNetNodes.Measuring;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class AllocatorTests
{
    [Theory]
    [InlineData("MALLOC_TRIM_THRESHOLD_", "131072")]
    [InlineData("GLIBC_TUNABLES", "glibc.malloc.check=0")]
    public void KeepFreedMemory_LeavesWhatTheEnvironmentSays(string variable, string value)
    {
        var before = Environment.GetEnvironmentVariable(variable);
        try
        {
            Environment.SetEnvironmentVariable(variable, value);
            Assert.False(Allocator.KeepFreedMemory());
        }
        finally
        {
            Environment.SetEnvironmentVariable(variable, before);
        }
    }
}
