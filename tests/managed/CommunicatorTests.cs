using ResNetNodes.Distributed;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>Operations of several processes under mpirun, and how they end.</summary>
public sealed class CommunicatorTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Operations_GiveAllTheSame(int ranks)
    {
        var (code, output, error) = TestProcess.RunRanks(ranks, "ranks", "sums", "1");
        Assert.True(code == 0, error);
        Assert.Equal(Enumerable.Range(0, ranks).Select(rank => $"{rank} of {ranks}"), output.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("differ", "rank 1 has stage.functions.4")]
    [InlineData("fail", "rank 1: this rank has a failure of its own")]
    [InlineData("open", "the ranks are joined already")]
    [InlineData("search", "search in one process, with the network itself")]
    public void AFailureOfOneRank_EndsAll(string what, string message)
    {
        var (code, _, error) = TestProcess.RunRanks(2, "ranks", what);
        Assert.Equal(7, code);
        Assert.Contains(message, error, StringComparison.Ordinal);
    }

    [Fact]
    public void WithoutMpirun_NothingIsJoined()
    {
        Assert.False(Communicator.IsLaunched);
        var error = Assert.Throws<ResNetNodesException>(Communicator.OpenMpi);
        Assert.Equal("this process has not been started as one of several; start it by mpirun -n K", error.Message);
    }
}
