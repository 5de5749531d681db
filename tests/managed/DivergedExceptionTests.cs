using ResNetNodes.Networks;
using ResNetNodes.Training;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class DivergedExceptionTests
{
    /// <summary>What is no divergence, such as images of a wrong shape, is another exception.</summary>
    [Fact]
    public void TrainStep_ThrowsItForALossThatIsNotFinite_AndForNothingElse()
    {
        using var model = new TinyResNet(new TinyResNetOptions { Depth = 2, Planes = 4 });
        using var trainer = new Trainer(model, new TrainingOptions());
        using var infinite = full([4, 3, 32, 32], float.PositiveInfinity);
        using var narrow = zeros(4, 1, 32, 32);
        using var labels = zeros(4, ScalarType.Int64);
        Assert.Contains("diverged", Assert.Throws<DivergedException>(() => trainer.TrainStep(infinite, labels)).Message);
        Assert.IsNotType<DivergedException>(Assert.ThrowsAny<Exception>(() => trainer.TrainStep(narrow, labels)));
    }
}
