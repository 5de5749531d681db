using ResNetNodes.Networks;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>The C# example of README.md: compiled, run, and compared with the page.</summary>
public sealed class ReadmeExample
{
    private const string Begin = "        // README begins\n";
    private const string End = "        // README ends\n";

    [Fact]
    public void Example_Runs()
    {
        // README begins
        // 64 residual functions; memory does not grow with their number.
        var functions = Enumerable.Range(0, 64).Select(_ => nn.Sequential(
            nn.Conv2d(16, 16, 3, padding: 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding: 1), nn.BatchNorm2d(16)));
        using var stage = new ResidualStage(functions, new StageOptions { Reconstruction = Reconstruction.Adaptive() });
        using var optimizer = optim.SGD(stage.parameters(), 0.1, momentum: 0.9);

        using var step = NewDisposeScope();
        var loss = stage.call(randn(8, 16, 10, 10)).pow(2).mean();
        loss.backward();
        optimizer.step();
        Console.WriteLine($"{stage}: states are off by at most {stage.LastReport!.Error:0.0e+0}");
        // README ends
    }

    [Fact]
    public void Example_IsTheOneOnThePage()
    {
        var source = File.ReadAllText(Path.Combine(ConventionTests.Root, "tests/managed/ReadmeExample.cs"));
        var from = source.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var lines = source[from..source.IndexOf(End, StringComparison.Ordinal)].Split('\n')
            .Select(line => line.Length > 8 ? line[8..] : line);
        var page = File.ReadAllText(Path.Combine(ConventionTests.Root, "README.md"));
        Assert.Contains(string.Join('\n', lines).TrimEnd(), page);
    }
}
