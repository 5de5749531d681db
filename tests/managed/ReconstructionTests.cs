using Xunit;

namespace ResNetNodes.Tests;

public sealed class ReconstructionTests
{
    public static TheoryData<string> Names => [.. Reconstruction.Names];

    [Theory]
    [InlineData("backprop")]
    [InlineData("checkpoint")]
    [InlineData("checkpoint:8")]
    [InlineData("inverse")]
    [InlineData("corrected")]
    [InlineData("corrected:2")]
    [InlineData("extrapolated")]
    [InlineData("extrapolated:3")]
    [InlineData("adaptive")]
    [InlineData("adaptive:0.1")]
    [InlineData("adaptive:0.001")]
    public void Parse_IsTheInverseOfPrint(string text)
    {
        Assert.Equal(text, Reconstruction.Parse(text).ToString());
        Assert.Equal(Reconstruction.Parse(text), Reconstruction.Parse(Reconstruction.Parse(text).ToString()));
        Assert.Equal(Reconstruction.Parse(text), Reconstruction.Parse($" {text.ToUpperInvariant()} "));
    }

    /// <summary>Every row of the native table: what it prints can be parsed, and a stage runs and differentiates with it.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void EveryRow_ParsesPrintsAndRuns(string name)
    {
        var method = Reconstruction.Parse(name);
        Assert.Equal((name, name), (method.Name, method.ToString()));
        Assert.Contains(method, Reconstruction.All);
        Assert.NotEmpty(method.Summary);
        Assert.Contains(name, Reconstruction.Syntax);
        Assert.True(Reconstruction.TryParse(name, out var same));
        Assert.Equal(method, same);
        using var stage = new ResidualStage(
            Truth.Functions(4, () => Truth.LinearFunction(4)), new StageOptions { Reconstruction = method });
        using var x = Truth.Normal(1, 3, 4).requires_grad_(true);
        using var loss = stage.call(x).sum();
        loss.BackwardThroughStages();
        Assert.NotNull(x.grad);
        Assert.Contains($"reconstruction={name},", stage.ToString());
    }

    [Fact]
    public void Factories_HaveTheDefaultsOfTheTable()
    {
        Assert.Equal(Reconstruction.Parse("corrected"), Reconstruction.Corrected());
        Assert.Equal(Reconstruction.Parse("extrapolated"), Reconstruction.Extrapolated());
        Assert.Equal(Reconstruction.Parse("checkpoint"), Reconstruction.Checkpoint());
        Assert.Equal(Reconstruction.Parse("adaptive"), Reconstruction.Adaptive());
        Assert.Equal(Reconstruction.Parse("backprop"), Reconstruction.Backprop);
        Assert.Equal(Reconstruction.Parse("inverse"), Reconstruction.Inverse);
        Assert.Equal(Reconstruction.Parse("corrected:3"), Reconstruction.Corrected(3));
        Assert.Equal(Reconstruction.Parse("adaptive:0.5"), Reconstruction.Adaptive(0.5));
        Assert.NotEqual(Reconstruction.Corrected(3), Reconstruction.Corrected(2));
    }

    [Fact]
    public void Factories_CheckTheRangesOfTheTable()
    {
        var error = Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Corrected(0));
        Assert.Equal("iterations", error.ParamName);
        Assert.Contains("of at least 1", error.Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Extrapolated(1));
        Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Extrapolated(4));
        Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Checkpoint(-1));
        Assert.Contains(
            "at most 100: each is one more",
            Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Corrected(101)).Message);
        Assert.Contains(
            "at most 1048576",
            Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Checkpoint(int.MaxValue)).Message);
        Assert.Equal("corrected:100", Reconstruction.Corrected(100).ToString());
        Assert.Equal("checkpoint:1048576", Reconstruction.Checkpoint(1 << 20).ToString());
        Assert.Equal("adaptive:1", Reconstruction.Adaptive(1).ToString());
        Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Adaptive(1.01));
        Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Adaptive(double.PositiveInfinity));
        Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Adaptive(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Reconstruction.Adaptive(double.NaN));
    }

    /// <summary>Orders and costs of docs/reconstructions.md.</summary>
    [Theory]
    [InlineData("backprop", 0, 3, false)]
    [InlineData("checkpoint:8", 0, 4, false)]
    [InlineData("inverse", 1, 5, true)]
    [InlineData("corrected", 2, 5, true)]
    [InlineData("corrected:3", 4, 7, true)]
    [InlineData("extrapolated", 3, 4, true)]
    [InlineData("extrapolated:3", 4, 4, true)]
    public void OrdersAndCosts_AreThoseOfTheDocumentation(string text, long order, double evaluations, bool memoryFree)
    {
        var method = Reconstruction.Parse(text);
        Assert.Equal((order, evaluations, memoryFree), (method.Order, method.Evaluations, method.IsMemoryFree));
    }

    [Fact]
    public void Names_OutliveTheNativeTable()
    {
        var names = Reconstruction.Names;
        for (var i = 0; i < 50; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Assert.Equal(names, Reconstruction.Names);
        }
    }

    [Theory]
    [InlineData("", "expected backprop, checkpoint[:k], ")]
    [InlineData("invers", "is unknown; did you mean inverse?")]
    [InlineData("chekpoint:3", "is unknown; did you mean checkpoint?")]
    [InlineData("inverse:2", "reconstruction 'inverse:2': inverse takes no argument")]
    [InlineData("corrected:0", "corrected takes a whole number k of at least 1")]
    [InlineData("corrected:", "corrected takes")]
    [InlineData("corrected:-1", "corrected takes")]
    [InlineData("corrected:1.5", "corrected takes")]
    [InlineData("corrected:99999999999", "corrected takes")]
    [InlineData("corrected:2147483647", "at least 1 and at most 100: each is one more evaluation of every function")]
    [InlineData("corrected:101", "at most 100")]
    [InlineData("corrected:+2", "corrected takes")]
    [InlineData("corrected: 2", "corrected takes")]
    [InlineData("corrected:٢", "corrected takes")]
    [InlineData("checkpoint:0x10", "checkpoint takes")]
    [InlineData("checkpoint:1048577", "at most 1048576: no stage has more steps")]
    [InlineData("adaptive:1.5", "at most 1: an error of 1 is as large as the state")]
    [InlineData("adaptive: 0.1", "adaptive takes")]
    [InlineData("adaptive:+0.1", "adaptive takes")]
    [InlineData("extrapolated:4", "extrapolated takes a whole number m of at least 2 and at most 3")]
    [InlineData("adaptive:0", "adaptive takes a positive number as its tolerance")]
    [InlineData("adaptive:1e400", "adaptive takes")]
    [InlineData("adaptive:nan", "adaptive takes")]
    [InlineData("adaptive:0,1", "adaptive takes")]
    public void Parse_SaysWhatIsWrong(string text, string expected)
    {
        Assert.Contains(expected, Assert.Throws<ArgumentException>(() => Reconstruction.Parse(text)).Message);
        Assert.False(Reconstruction.TryParse(text, out _));
    }

    [Fact]
    public void Parse_ListsEveryRowWhereTheNameIsUnknown()
    {
        var message = Assert.Throws<ArgumentException>(() => Reconstruction.Parse("zzz")).Message;
        Assert.All(Reconstruction.Names, name => Assert.Contains(name, message));
        Assert.Contains("corrected[:k]", message);
        Assert.Contains("adaptive[:tolerance]", message);
    }
}
