using ResNetNodes.Data;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class LearningRateSearchTests
{
    private static readonly LossFunction HalfSquare = LossFunction.Custom("half-square", (scores, _) => scores.square().mean() / 2);

    /// <summary>A loss of w²/2 falls by (1 − rate)² with each step of SGD.</summary>
    [Theory]
    [InlineData(1e-3, 0.9, 25)]
    [InlineData(1e-5, 0.5, 100)]
    [InlineData(0.1, 1.7, 10)]
    public void Losses_AreThoseOfGradientDescent(double least, double most, int steps)
    {
        using var model = new OneNumber(3);
        var told = new List<LearningRatePoint>();
        var search = new LearningRateSearch { Least = least, Most = most, Steps = steps };
        var curve = search.Run(model, Plain, TestLoaders.Small(12, 4), told.Add);
        var weight = 3.0;
        for (var i = 0; i < steps; i++)
        {
            var rate = least * Math.Pow(most / least, (double)i / (steps - 1));
            Assert.Equal(1, curve.Points[i].LearningRate / rate, 12);
            Assert.Equal(1, curve.Points[i].Loss / (weight * weight / 2), 10);
            weight *= 1 - rate;
        }

        Assert.Equal(steps, curve.Points.Count);
        Assert.Equal(told, curve.Points);
        Assert.Null(curve.DivergedAt);
        Assert.Equal(3, model.Weight.item<double>());
        Assert.Null(model.Weight.grad);
    }

    /// <summary>Factors of rates are those that the training has: of the stages' parameters, and whatever rate the options name.</summary>
    [Fact]
    public void Rate_OfTheOptions_DoesNotCount()
    {
        var curves = new[] { 0.1, 3 }.Select(rate =>
        {
            using var model = Network();
            return new LearningRateSearch { Steps = 12 }.Run(
                model, new TrainingOptions { LearningRate = rate, Schedule = Schedule.Thirds, Epochs = 7, AverageDecay = 0.9 },
                Images(20)).Points.Select(point => Math.Round(point.Loss, 4));
        }).ToList();
        Assert.Equal(curves[0], curves[1]);
    }

    [Fact]
    public void Accumulation_IsALargerBatch()
    {
        List<double> Losses(int batch, int accumulate)
        {
            random.manual_seed(5);
            using var model = nn.Sequential(nn.Flatten(), nn.Linear(75, 4)).to(ScalarType.Float64);
            var curve = new LearningRateSearch { Most = 1, Steps = 20 }.Run(
                model, new TrainingOptions { Accumulate = accumulate }, TestLoaders.Small(24, batch));
            return [.. curve.Points.Select(point => point.Loss)];
        }

        Assert.All(Losses(8, 1).Zip(Losses(4, 2)), pair => Assert.Equal(pair.First, pair.Second, 12));
    }

    /// <summary>What a search has done to a network is nothing: its weights, and what is trained from there.</summary>
    [Theory]
    [InlineData("adaptive")]
    [InlineData("backprop")]
    public void Network_IsAsItWas_BitForBit(string method)
    {
        List<byte[]> Trained(bool search)
        {
            using var model = Network(Reconstruction.Parse(method));
            model.named_modules().First(m => m.name == "stem").module.eval();
            if (search)
            {
                var before = Bits(model);
                var (modes, learned) = (Modes(model), Learned(model));
                var curve = new LearningRateSearch { Most = 100, Steps = 30 }.Run(
                    model, new TrainingOptions { Optimizer = OptimizerChoice.AdamW() }, Images(20));
                Assert.True(curve.Points.Count >= 10);
                Assert.Equal(before, Bits(model));
                Assert.Equal(modes, Modes(model));
                Assert.Equal(learned, Learned(model));
                Assert.All(model.parameters(), parameter => Assert.Null(parameter.grad));
            }

            using var trainer = new Trainer(model, new TrainingOptions { Epochs = 1 });
            trainer.Run(Images(20), Images(20), _ => { });
            return Bits(model);
        }

        Assert.Equal(Trained(false), Trained(true));
    }

    [Fact]
    public void Divergence_EndsTheSearch_AndTheNetworkIsAsItWas()
    {
        using var model = new OneNumber(3);
        var calls = 0;
        var options = Plain with
        {
            Loss = LossFunction.Custom("lost", (scores, _) => scores.square().mean() * (++calls == 18 ? double.NaN : 1)),
        };
        var curve = new LearningRateSearch { Steps = 50, Most = 0.01 }.Run(model, options, TestLoaders.Small(12, 4));
        Assert.Equal(17, curve.Points.Count);
        Assert.Equal(1e-5 * Math.Pow(1e3, 17.0 / 49), curve.DivergedAt!.Value, 12);
        Assert.Equal(3, model.Weight.item<double>());

        // From rate 2 on the weight grows in each step, without a bound.
        curve = new LearningRateSearch { Least = 1.5, Most = 50 }.Run(model, Plain, TestLoaders.Small(12, 4));
        Assert.InRange(curve.DivergedAt!.Value, 2, 10);
        Assert.True(curve.Points.All(point => point.LearningRate < curve.DivergedAt && double.IsFinite(point.Loss)));
        Assert.Equal(3, model.Weight.item<double>());
    }

    [Fact]
    public void Cancelled_TheNetworkIsAsItWas()
    {
        using var model = new OneNumber(3);
        using var cancelled = new CancellationTokenSource();
        var told = 0;
        Assert.Throws<OperationCanceledException>(() => new LearningRateSearch().Run(
            model, Plain, TestLoaders.Small(12, 4), _ =>
            {
                if (++told == 5)
                {
                    cancelled.Cancel();
                }
            },
            cancelled.Token));
        Assert.Equal((5, 3.0), (told, model.Weight.item<double>()));
    }

    [Theory]
    [InlineData(0, 1, 10, "Least")]
    [InlineData(-1, 1, 10, "Least")]
    [InlineData(double.NaN, 1, 10, "Least")]
    [InlineData(1, 1, 10, "Most")]
    [InlineData(1, double.PositiveInfinity, 10, "Most")]
    [InlineData(1, 2, 9, "Steps")]
    public void Numbers_AreChecked(double least, double most, int steps, string name)
    {
        using var model = new OneNumber(3);
        var search = new LearningRateSearch { Least = least, Most = most, Steps = steps };
        var refused = Assert.Throws<ArgumentOutOfRangeException>(() => search.Run(model, Plain, TestLoaders.Small(12, 4)));
        Assert.Contains(name, refused.Message);
    }

    private static TrainingOptions Plain =>
        new() { Optimizer = OptimizerChoice.Sgd(0), WeightDecay = 0, Loss = HalfSquare, LearningRate = 0.7 };

    private static TinyResNet Network(Reconstruction? reconstruction = null) => new(new TinyResNetOptions
    {
        Depth = 3,
        Planes = 4,
        Seed = 4,
        ZeroInit = false,
        Stage = new StageOptions { Reconstruction = reconstruction ?? Reconstruction.Adaptive(), AccumulateGradientsInPlace = true },
    });

    private static BatchLoader Images(int batch) =>
        new(SyntheticImages.Create(60, 1), Augmentation.Cifar.WithoutRandomness(), batch, 1);

    private static List<byte[]> Bits(nn.Module model) => [.. model.state_dict().Values.Select(tensor => tensor.bytes.ToArray())];

    private static List<bool> Modes(nn.Module model) => [.. model.named_modules().Select(m => m.module.training)];

    private static List<double> Learned(nn.Module model) => [.. ILearningStage.Of(model).SelectMany(stage => stage.Stage.Learned)];

    /// <summary>Gives its one parameter for every image, whatever that shows.</summary>
    private sealed class OneNumber : nn.Module<Tensor, Tensor>
    {
        public OneNumber(double weight)
            : base(nameof(OneNumber))
        {
            Weight = new(tensor(weight, ScalarType.Float64));
            RegisterComponents();
        }

        public TorchSharp.Modules.Parameter Weight { get; }

        public override Tensor forward(Tensor input) => Weight.expand(input.shape[0], 1);
    }
}
