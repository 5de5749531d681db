using ResNetNodes.Networks;
using ResNetNodes.Weights;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>The kind that takes torchvision's weights, beside torchvision's own networks.</summary>
public sealed class TorchvisionResNetTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("torchvision").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    /// <summary>Names and shapes of all sizes, by the table in both directions.</summary>
    [Theory]
    [InlineData("18")]
    [InlineData("34")]
    [InlineData("50")]
    [InlineData("101")]
    [InlineData("152")]
    public void Table_NamesAllThatTorchvisionHas(string size)
    {
        using var ours = Network(size);
        using var theirs = Theirs(size);
        var (own, other) = (ours.state_dict(), theirs.state_dict());
        Assert.Equal(
            other.Select(t => $"{t.Key} {string.Join('x', t.Value.shape)}").Order(StringComparer.Ordinal),
            own.Select(t => $"{WeightNames.Torchvision.ToTheirs(t.Key)} {string.Join('x', t.Value.shape)}").Order(StringComparer.Ordinal));
        Assert.All(own.Keys, name => Assert.Equal(name, WeightNames.Torchvision.ToOurs(WeightNames.Torchvision.ToTheirs(name)!)));
    }

    /// <summary>Its weights through a file, into ours: scores of evaluation and training, and the running statistics after that.</summary>
    [Theory]
    [InlineData("18", ".safetensors", 64)]
    [InlineData("50", ".pth", 40)]
    public void Scores_AreTorchvisions(string size, string ending, int image)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        using var ours = Network(size);
        using var theirs = Theirs(size);
        var images = randn(4, 3, image, image);
        // Statistics and weights that are none of the beginning.
        using (no_grad())
        {
            theirs.train();
            theirs.call(images);
            foreach (var (_, parameter) in theirs.named_parameters().Where(p => p.parameter.dim() == 1))
            {
                parameter.add_(randn_like(parameter) * 0.1);
            }
        }

        var path = Path.Combine(folder, "theirs" + ending);
        WeightsFile.Save(path, theirs);
        WeightsFile.Load(path, ours);
        // As a user may say it; the same.
        WeightsFile.Load(path, ours, WeightNames.Torchvision);
        ours.eval();
        theirs.eval();
        using (no_grad())
        {
            // Rounding of 50 layers, of 1e-7 each, that add up like a walk.
            Assert.True(Truth.RelativeError(ours.call(images), theirs.call(images)) < 2e-6);
        }

        ours.train();
        theirs.train();
        Assert.True(Truth.RelativeError(ours.call(images), theirs.call(images)) < 1e-4);
        // And out again: what it writes by torchvision's names, torchvision's network reads as its own.
        WeightsFile.Save(path, ours, WeightNames.Torchvision);
        using var again = Theirs(size);
        WeightsFile.Load(path, again);
        var statistics = again.state_dict();
        Assert.All(theirs.state_dict(), t => Assert.True(t.Value.allclose(statistics[t.Key], 1e-4, 1e-5), t.Key));
        Assert.Equal(2, statistics["layer4.1.bn1.num_batches_tracked"].item<long>());
    }

    /// <summary>ReLU can't be undone: adaptive finds that out and takes kept states. From the first step on gradients are right.</summary>
    [Theory]
    [InlineData("custom-basic:3+9+2+1")]
    [InlineData("custom:4+10+1+2")]
    public void Gradients_AreThoseOfAutogradByEveryMethod(string size)
    {
        using var scope = NewDisposeScope();
        var images = Truth.Normal(1, 4, 3, 24, 24);
        foreach (var method in new[] { "adaptive", "checkpoint", "checkpoint:2", "backprop" })
        {
            using var net = new ResNet(new ResNetOptions
            {
                Kind = ResNetKind.Torchvision,
                Size = NetworkSize.Parse(size),
                Planes = 4,
                Seed = 1,
                ImageNetStem = false,
                Stage = new StageOptions { Reconstruction = Reconstruction.Parse(method) },
            });
            net.to(ScalarType.Float64);
            for (var step = 0; step < 4; step++)
            {
                var expected = Gradients(net, x => ResNetTests.Plainly(net, x), images);
                var found = Gradients(net, net.call, images);
                // Adaptive's tolerance is 1e-3 of a state, which behind ReLU may be 2 % of a gradient; all else is exact.
                Assert.True(Truth.RelativeError(found, expected) < (method == "adaptive" ? 0.02 : 1e-10), $"{method}, step {step}");
            }
        }
    }

    /// <summary>Once it knows, a pass costs no more evaluations than a checkpoint of as many states.</summary>
    [Fact]
    public void Adaptive_StopsSearchingWhatCantBeFound()
    {
        using var scope = NewDisposeScope();
        using var net = Network("50", planes: 4, stem: false);
        random.manual_seed(1);
        var images = randn(4, 3, 16, 16);
        for (var step = 0; step < 3; step++)
        {
            net.call(images).sum().backward();
        }

        // One evaluation where a state is kept, two where it is replayed from the one before.
        Assert.All(net.Stages.SelectMany(stage => stage!.LastReport!.Steps), step => Assert.InRange(step.Evaluations, 1, 2));
    }

    [Theory]
    [InlineData(ResNetKind.Ordinary)]
    [InlineData(ResNetKind.Ode)]
    [InlineData(ResNetKind.Tied)]
    public void OtherKinds_RefuseItsWeights(ResNetKind kind)
    {
        using var theirs = Network("18", planes: 4);
        using var ours = new ResNet(new ResNetOptions { Kind = kind, Planes = 4, Classes = 1000, Seed = 2 });
        var path = Path.Combine(folder, "w.safetensors");
        WeightsFile.Save(path, theirs, WeightNames.Torchvision);
        var before = WeightsFileTests.Bits(ours);
        foreach (var names in new[] { null, WeightNames.Torchvision })
        {
            var error = Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, ours, names));
            Assert.Contains($"a network of the kind {kind} computes something else", error.Message, StringComparison.Ordinal);
            Assert.Contains("ResNetKind.Torchvision", error.Message, StringComparison.Ordinal);
        }

        Assert.Throws<ArgumentException>(() => WeightsFile.Save(path, ours, WeightNames.Torchvision));
        WeightsFile.Save(path, theirs);
        Assert.Throws<ResNetNodesException>(() => WeightsFile.Load(path, ours));
        Assert.Equal(before, WeightsFileTests.Bits(ours));
    }

    private static ResNet Network(string size, int planes = 64, bool? stem = null) => new(new ResNetOptions
    {
        Kind = ResNetKind.Torchvision,
        Size = NetworkSize.Parse(size),
        Classes = 1000,
        Planes = planes,
        ImageNetStem = stem,
        Seed = 1,
    });

    private static nn.Module<Tensor, Tensor> Theirs(string size) => size switch
    {
        "18" => torchvision.models.resnet18(),
        "34" => torchvision.models.resnet34(),
        "50" => torchvision.models.resnet50(),
        "101" => torchvision.models.resnet101(),
        _ => torchvision.models.resnet152(),
    };

    private static Tensor Gradients(ResNet net, Func<Tensor, Tensor> evaluate, Tensor images)
    {
        nn.functional.cross_entropy(evaluate(images), tensor(new long[] { 1, 2, 3, 4 })).backward();
        return cat([.. Truth.TakeGradients(net.parameters()).Select(gradient => gradient.flatten())]);
    }
}
