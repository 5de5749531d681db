using Xunit;

namespace ResNetNodes.Tests;

/// <summary>Operations that are under way.</summary>
public sealed class CommunicationTests
{
    /// <summary>A sum of 1000 ones over two ranks, and rank 1's number: waited for the other way round, and once more.</summary>
    [Fact]
    public void Wait_ComesInAnyOrder()
    {
        var (code, output, error) = TestProcess.RunRanks(2, "ranks", "waits");
        Assert.True(code == 0, error);
        Assert.Equal(["2000 2", "2000 2"], output);
    }
}
