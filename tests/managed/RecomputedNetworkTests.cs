using ResNetNodes.Networks;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Networks whose stem, first blocks and head keep their inputs alone.</summary>
public sealed class RecomputedNetworkTests
{
    private static readonly ResNetOptions Small = new() { Planes = 4, Seed = 1, Size = NetworkSize.Parse("custom:2+1+2+2") };

    public static TheoryData<ResNetKind, string, bool, StageExecution> Networks()
    {
        var data = new TheoryData<ResNetKind, string, bool, StageExecution>();
        foreach (var kind in Enum.GetValues<ResNetKind>())
        {
            foreach (var size in new[] { "custom-basic:2+2+2+2", "custom:2+1+2+2" })
            {
                foreach (var largeStem in new[] { true, false })
                {
                    data.Add(kind, size, largeStem, StageExecution.Layers);
                    data.Add(kind, size, largeStem, StageExecution.Callback);
                }
            }
        }

        return data;
    }

    /// <summary>In training mode, with and without the input's gradient, and in evaluation mode, one after the other.</summary>
    [Theory]
    [MemberData(nameof(Networks))]
    public void LossGradientsAndBuffers_AreThoseOfStoredTapes(ResNetKind kind, string size, bool largeStem, StageExecution execution)
    {
        using var scope = NewDisposeScope();
        var options = Small with { Kind = kind, Size = NetworkSize.Parse(size), ImageNetStem = largeStem };
        var kept = new StageOptions { Execution = execution, Reconstruction = Reconstruction.Checkpoint() };
        var truth = Passes(options with
        {
            Recompute = false,
            Stage = new StageOptions { Execution = execution, Reconstruction = Reconstruction.Backprop },
        });
        // One byte: over single images.
        foreach (var stage in new[] { kept, kept with { TapeBytes = 1 }, kept with { AccumulateGradientsInPlace = true } })
        {
            var found = Passes(options with { Recompute = true, Stage = stage });
            Assert.Equal(truth.Select(t => t.Name), found.Select(t => t.Name));
            foreach (var (one, expected) in found.Zip(truth))
            {
                var (error, all) = ((one.Value - expected.Value).norm().item<double>(), expected.Value.norm().item<double>());
                // The gradient of a bias before a normalization is 0: its terms, of about 1, leave their rounding.
                Assert.True(error <= (1e-11 * all) + 1e-13, $"{one.Name} is off by {error} of {all}, {stage}");
            }
        }
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void ScoresWithoutGradients_AreThoseOfTheModulesAndDrawNothing(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        using var guard = no_grad();
        var truth = Evaluate(false);
        var found = Evaluate(true);
        Assert.True(Truth.RelativeError(found.Scores, truth.Scores) < 1e-11);
        Assert.Equal(truth.Next, found.Next);

        (Tensor Scores, float Next) Evaluate(bool recompute)
        {
            using var net = new ResNet(Small with { Recompute = recompute, Stage = new StageOptions { Execution = execution } });
            net.to(ScalarType.Float64).eval();
            var scores = net.call(Truth.Normal(1, 4, 3, 16, 16));
            return (scores, rand(1).item<float>());
        }
    }

    [Theory]
    [InlineData(ResNetKind.Ordinary)]
    [InlineData(ResNetKind.Ode)]
    [InlineData(ResNetKind.Tied)]
    public void StateDict_HasTheSameKeysEitherWay(ResNetKind kind)
    {
        using var scope = NewDisposeScope();
        using var plain = new ResNet(Small with { Kind = kind, Recompute = false });
        using var recomputed = new ResNet(Small with { Kind = kind, Recompute = true });
        Assert.Equal(plain.state_dict().Keys, recomputed.state_dict().Keys);
        Assert.Equal(plain.named_modules().Select(m => m.name), recomputed.named_modules().Select(m => m.name));
        Assert.Contains("stem.conv.weight", plain.state_dict().Keys);
    }

    [Theory]
    [InlineData("custom-basic:2+2+2+2", "stem block1 stage1 block2 stage2 block3 stage3 block4 stage4 head")]
    [InlineData("custom:2+1+2+2", "stem block1 stage1 block2 block3 stage3 block4 stage4 head")]
    [InlineData("auto:1", "stem block1 block2 block3 block4 head")]
    public void Parts_AreNamedInOrder(string size, string names)
    {
        foreach (var recompute in new[] { false, true })
        {
            using var net = new ResNet(Small with { Size = NetworkSize.Parse(size), Recompute = recompute });
            Assert.Equal(names.Split(' '), net.Parts.Select(part => part.Name));
            Assert.Equal(net.Stages.OfType<ResidualStage>(), net.Parts.Select(part => part.Module).OfType<ResidualStage>());
            Assert.All(net.Parts, part => Assert.Equal(recompute && !part.Name.StartsWith("stage"), part.Module is Recomputed));
        }
    }

    [Theory]
    [InlineData("adaptive", 1, true)]
    [InlineData("checkpoint", 1, true)]
    [InlineData("backprop", 1, false)]
    [InlineData("adaptive", 11, false)] // stages that short store their tapes
    public void ByDefault_NetworksRecomputeWhereNoStageStoresItsTapes(string method, int adjointFrom, bool recomputes)
    {
        using var net = new ResNet(Small with { Stage = Truth.Options(method), AdjointFrom = adjointFrom });
        Assert.Equal(recomputes ? 6 : 0, net.Parts.Select(part => part.Module).OfType<Recomputed>().Count());
    }

    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void Parts_HaveTheStagesOptions(StageExecution execution)
    {
        var stage = new StageOptions { Execution = execution, TapeBytes = 1 << 20, AccumulateGradientsInPlace = true };
        using var net = new ResNet(Small with { Stage = stage, Recompute = true });
        var expected = new RecomputedOptions { Execution = execution, TapeBytes = 1 << 20, AccumulateGradientsInPlace = true };
        var parts = net.Parts.Select(part => part.Module).OfType<Recomputed>().ToList();
        Assert.All(parts, part => Assert.Equal((expected, execution), (part.Options, part.Execution)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ADisposedNetwork_IsRefusedLeavesNothingAndMayBeDisposedAgain(bool recompute)
    {
        using var scope = NewDisposeScope();
        LeakTests.FinalizeOthers();
        var objects = NativeRuntime.LiveObjects;
        var net = new ResNet(Small with { Recompute = recompute });
        var images = rand(2, 3, 16, 16);
        net.call(images).sum().backward();
        net.Dispose();
        Assert.Equal(objects, NativeRuntime.LiveObjects);
        Assert.ThrowsAny<InvalidOperationException>(() => net.call(images)); // of which ObjectDisposedException is one
        net.Dispose();
    }

    private static List<(string Name, Tensor Value)> Passes(ResNetOptions options)
    {
        using var net = new ResNet(options);
        net.to(ScalarType.Float64);
        var labels = tensor(new long[] { 1, 2, 3, 4 });
        var found = new List<(string, Tensor)>();
        foreach (var (training, inputWanted) in new[] { (true, true), (true, false), (false, true) })
        {
            net.train(training);
            var images = Truth.Normal(1, 4, 3, 32, 32).requires_grad_(inputWanted);
            var loss = nn.functional.cross_entropy(net.call(images), labels);
            loss.backward();
            var pass = $"{(training ? "training" : "evaluation")}: ";
            found.Add(($"{pass}loss", loss.detach()));
            Assert.Equal(inputWanted, images.grad is not null);
            found.Add(($"{pass}input", images.grad?.clone() ?? zeros(1, ScalarType.Float64)));
            foreach (var (name, parameter) in net.named_parameters())
            {
                Assert.True(parameter.grad is not null, name);
                found.Add(($"{pass}{name}", parameter.grad!.clone()));
                parameter.grad = null;
            }

            found.AddRange(net.named_buffers().Select(b => ($"{pass}{b.name}", b.buffer.to(ScalarType.Float64, copy: true))));
        }

        return found;
    }
}
