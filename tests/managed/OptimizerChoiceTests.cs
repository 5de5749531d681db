using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class OptimizerChoiceTests
{
    [Fact]
    public void Choices_AreEqualByNameAndNumbers()
    {
        Assert.Equal("sgd momentum 0.9", OptimizerChoice.Sgd().ToString());
        Assert.Equal("adamw beta1 0.9 beta2 0.999 epsilon 1E-08", OptimizerChoice.AdamW().ToString());
        Assert.Equal(OptimizerChoice.Sgd(0.5), OptimizerChoice.Sgd(0.5));
        Assert.Equal(OptimizerChoice.Sgd(0.5).GetHashCode(), OptimizerChoice.Sgd(0.5).GetHashCode());
        Assert.NotEqual(OptimizerChoice.Sgd(0.5), OptimizerChoice.Sgd());
        Assert.NotEqual(OptimizerChoice.Sgd(), OptimizerChoice.AdamW());
    }

    [Theory]
    [InlineData(-0.1)]
    [InlineData(1)]
    [InlineData(double.NaN)]
    public void Numbers_AreChecked(double number)
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => OptimizerChoice.Sgd(number));
        Assert.Throws<ArgumentOutOfRangeException>(() => OptimizerChoice.AdamW(beta1: number));
        Assert.Throws<ArgumentOutOfRangeException>(() => OptimizerChoice.AdamW(beta2: number));
        Assert.Throws<ArgumentOutOfRangeException>(() => OptimizerChoice.AdamW(epsilon: Math.Min(number, 0)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("1st")]
    [InlineData("two words")]
    [InlineData("a+b")]
    [InlineData("SGD")]
    [InlineData("adamw")]
    public void Custom_RefusesWhatIsNoName(string name) => Assert.Contains(
        $"can't be called '{name}'",
        Assert.Throws<ArgumentException>(() => OptimizerChoice.Custom(name, _ => throw new InvalidOperationException())).Message);

    /// <summary>A factory gets the groups that the options make; their rates follow the schedule.</summary>
    [Fact]
    public void Custom_GetsTheGroupsAndTheirRates()
    {
        using var scope = NewDisposeScope();
        using var model = nn.Sequential(("first", nn.Linear(2, 3)), ("last", nn.Linear(3, 2)));
        IReadOnlyList<TrainedGroup> given = [];
        TorchSharp.Modules.OptimizerHelper made = null!;
        var options = new TrainingOptions
        {
            LearningRate = 0.25,
            WeightDecay = 0.5,
            NamedWeightDecay = new(@"bias$", 0),
            Optimizer = OptimizerChoice.Custom("rmsprop-0.9", groups =>
            {
                given = groups;
                return made = optim.RMSProp(groups.Select(g => new TorchSharp.Modules.RMSProp.ParamGroup(g.Parameters, g.LearningRate)));
            }),
        };
        using var trainer = new Trainer(model, options);
        Assert.Equal([(2, 0.25, 0.5), (2, 0.25, 0.0)], given.Select(g => (g.Parameters.Count, g.LearningRate, g.WeightDecay)));
        Assert.Equal([0.25, 0.25], made.ParamGroups.Select(g => g.LearningRate));
        var before = model.parameters().Select(p => p.detach().clone()).ToList();
        trainer.TrainStep(rand(4, 2), zeros(4, ScalarType.Int64));
        Assert.All(model.parameters().Zip(before), pair => Assert.False(pair.First.equal(pair.Second).all().item<bool>()));
        Assert.Contains(
            "optimizer none: its factory gave none",
            Assert.Throws<ArgumentException>(() => new Trainer(model, options with
            {
                Optimizer = OptimizerChoice.Custom("none", _ => null!),
            })).Message);
    }
}
