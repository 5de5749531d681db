using System.Text;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

public sealed class CheckpointTests : IDisposable
{
    private static readonly EpochMetrics Epoch = new(1, 2.25, 0.125, 2.5, 0.25, 0.1, 3, 0.1, 0.8, 0.5, 0.1, 1L << 40, null, 3, 0.5, 1e-9);

    private readonly string path = Path.Combine(Directory.CreateTempSubdirectory("checkpoint").FullName, "c.bin");

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);

    [Fact]
    public void Load_IsTheInverseOfSave()
    {
        using var source = Model(2, 1);
        using var target = Model(2, 2);
        using var sgd = optim.SGD(source.parameters(), 0.1, momentum: 0.9);
        using var other = optim.SGD(target.parameters(), 0.1, momentum: 0.9);
        Step(source, sgd);
        Step(target, other);
        random.manual_seed(5);
        Checkpoint.Save(path, source, sgd, [Epoch]);
        var next = rand(1).item<float>();
        Assert.Equal([Epoch], Checkpoint.Load(path, target, other));
        // Random numbers go on where they were.
        Assert.Equal(next, rand(1).item<float>());
        Assert.Equal(Bits(source), Bits(target));
        // The optimizer's velocities too: the next steps are the same.
        Step(source, sgd);
        Step(target, other);
        Assert.Equal(Bits(source), Bits(target));
    }

    [Fact]
    public void Load_OfTheNetworkAloneLeavesTheGeneratorAlone()
    {
        using var source = Model(2, 1);
        using var target = Model(2, 2);
        Checkpoint.Save(path, source, null, []);
        random.manual_seed(5);
        var expected = rand(1).item<float>();
        random.manual_seed(5);
        Assert.Empty(Checkpoint.Load(path, target, null));
        Assert.Equal(expected, rand(1).item<float>());
        Assert.Equal(Bits(source), Bits(target));
    }

    /// <summary>What adaptive has learned of its steps decides which states come from where, and so the bits of gradients.</summary>
    [Theory]
    [InlineData(StageExecution.Layers)]
    [InlineData(StageExecution.Callback)]
    public void Resume_ContinuesBitForBitWhileStatesAreKeptAndReleased(StageExecution execution)
    {
        using var scope = NewDisposeScope();
        TinyResNet Rough() => new(new TinyResNetOptions
        {
            Depth = 9,
            Planes = 4,
            Seed = 1,
            ZeroInit = false,
            Stage = new StageOptions { Execution = execution },
        });
        using var whole = Rough();
        using var resumed = Rough();
        var options = new TrainingOptions { LearningRate = 0.02 };
        using var trainer = new Trainer(whole, options);
        var states = new HashSet<int>();
        void Train(Trainer one, TinyResNet model, int from, int to)
        {
            for (var i = from; i < to; i++)
            {
                // The functions shrink on the way: states are given up again.
                using (no_grad())
                {
                    foreach (var (name, parameter) in model.Stage.named_parameters().Where(_ => i > 20))
                    {
                        parameter.mul_(name.EndsWith("4.weight", StringComparison.Ordinal) ? 0.8 : 1);
                    }
                }

                one.TrainStep(Truth.Normal(i, 4, 3, 32, 32).to(ScalarType.Float32), arange(4, ScalarType.Int64));
                states.Add(model.Stage.LastReport!.Steps.Count(step => step.Source == StateSource.Kept));
            }
        }

        Train(trainer, whole, 0, 8);
        trainer.Save(path);
        using var other = new Trainer(resumed, options);
        other.Resume(path);
        Train(trainer, whole, 8, 60);
        Train(other, resumed, 8, 60);
        Assert.Equal(Bits(whole), Bits(resumed));
        Assert.True(states.Count >= 2, $"kept: {string.Join(", ", states)}");
    }

    /// <summary>TorchSharp writes the optimizer's class into its state; files of before must be readable, and theirs readable before.</summary>
    [Fact]
    public void Save_KeepsTheNameOfTheOptimizerInFiles()
    {
        using var model = Model(1, 1);
        using (var trainer = new Trainer(model, new TrainingOptions()))
        {
            trainer.Save(path);
            trainer.Resume(path);
        }

        var text = Encoding.Latin1.GetString(File.ReadAllBytes(path));
        Assert.Contains("\u000fMomentumDescent", text);
        Assert.DoesNotContain("MomentumSgd", text);
    }

    [Theory]
    [InlineData("missing", "can't be read")]
    [InlineData("empty", "is not a checkpoint")]
    [InlineData("foreign", "is not a checkpoint")]
    [InlineData("flipped", "is damaged")]
    [InlineData("truncated", "is damaged")]
    [InlineData("other", "belongs to another network")]
    public void Load_RefusesABadFile(string damage, string message)
    {
        using var model = Model(2, 1);
        Checkpoint.Save(path, model, null, []);
        var bytes = File.ReadAllBytes(path);
        switch (damage)
        {
            case "missing":
                File.Delete(path);
                break;
            case "empty":
                File.WriteAllText(path, string.Empty);
                break;
            case "foreign":
                File.WriteAllText(path, "something else");
                break;
            case "flipped":
                bytes[bytes.Length / 2] ^= 1;
                File.WriteAllBytes(path, bytes);
                break;
            case "truncated":
                File.WriteAllBytes(path, bytes[..^100]);
                break;
        }

        using var target = Model(damage == "other" ? 3 : 2, 1);
        var error = Assert.Throws<ResNetNodesException>(() => Checkpoint.Load(path, target, null));
        Assert.StartsWith(path, error.Message);
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    private static TinyResNet Model(int depth, long seed) => new(new TinyResNetOptions { Depth = depth, Planes = 4, Seed = seed });

    private static List<float> Bits(nn.Module model) => [.. model.state_dict().Values.SelectMany(t => t.to(ScalarType.Float32).data<float>())];

    private static void Step(TinyResNet model, SGD sgd)
    {
        using var scope = NewDisposeScope();
        sgd.zero_grad();
        model.call(Truth.Normal(3, 4, 3, 32, 32).to(ScalarType.Float32)).pow(2).sum().backward();
        sgd.step();
    }
}
