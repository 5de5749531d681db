using ResNetNodes.Interop;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class ResNetNodesExceptionTests
{
    /// <summary>A C++ exception arrives as this one, with its line.</summary>
    [Fact]
    public void Native_FailuresAreOfThisType()
    {
        var exception = Assert.Throws<ResNetNodesException>(() => Functions.StepCount("nosuch", 3));
        Assert.Contains("nosuch", exception.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', exception.Message);
    }

    [Fact]
    public void Cause_IsKept()
    {
        var cause = new IOException("disk");
        Assert.Same(cause, new ResNetNodesException("file: can't be written", cause).InnerException);
    }
}
