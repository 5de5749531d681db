using System.Runtime.InteropServices;
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

    /// <summary>Of each of TorchSharp's optimizers the next steps are those that would have come.</summary>
    [Theory]
    [InlineData("SGD")]
    [InlineData("Adam")]
    [InlineData("AdamW")]
    [InlineData("Adamax")]
    [InlineData("NAdam")]
    [InlineData("RAdam")]
    [InlineData("RMSProp")]
    [InlineData("Rprop")]
    [InlineData("Adagrad")]
    [InlineData("Adadelta")]
    [InlineData("ASGD")]
    public void Load_ContinuesWithAnyOptimizerBitForBit(string name)
    {
        using var source = Network();
        using var target = Network();
        using var one = Optimizer(name, source);
        using var other = Optimizer(name, target);
        Steps(source, one, 3);
        Steps(target, other, 1);
        Checkpoint.Save(path, source, one, []);
        Checkpoint.Load(path, target, other);
        Steps(source, one, 3);
        Steps(target, other, 3);
        Assert.Equal(Raw(source), Raw(target));
        using var fresh = Network();
        using var third = Optimizer(name, fresh);
        Checkpoint.Load(path, fresh, third);
        Steps(fresh, third, 3);
        Assert.Equal(Raw(source), Raw(fresh));
    }

    /// <summary>Without a step SGD has no velocity: it is taken away where there is one.</summary>
    [Fact]
    public void Load_TakesAVelocityAwayThatTheFileHasNot()
    {
        using var source = Network();
        using var target = Network();
        using var one = Optimizer("SGD", source);
        using var other = Optimizer("SGD", target);
        Steps(target, other, 2);
        Checkpoint.Save(path, source, one, []);
        Checkpoint.Load(path, target, other);
        Steps(source, one, 2);
        Steps(target, other, 2);
        Assert.Equal(Raw(source), Raw(target));
    }

    /// <summary>Bit for bit, whatever the numbers are: of all types, layouts and shapes, non-finite ones with their payloads.</summary>
    [Fact]
    public void Load_RestoresEveryBitOfEveryKindOfTensor()
    {
        using var scope = NewDisposeScope();
        using var source = new Holder(1);
        using var target = new Holder(0);
        var quiet = BitConverter.Int32BitsToSingle(unchecked((int)0xFFC12345));
        source.Tensors["float32"].bytes =
            MemoryMarshal.AsBytes<float>([quiet, float.NegativeInfinity, -0f, float.Epsilon, float.NaN, 1]).ToArray();
        EpochMetrics odd = Epoch with { TrainLoss = double.NaN, TestLoss = double.PositiveInfinity, StateError = double.NegativeInfinity };
        Checkpoint.Save(path, source, null, [odd]);
        Assert.Equal([odd], Checkpoint.Load(path, target, null));
        Assert.Equal([odd], Checkpoint.ReadHistory(path));
        Assert.All(source.Tensors, pair => Assert.Equal(Bytes(pair.Value), Bytes(target.Tensors[pair.Key])));
        // As it lay in memory before.
        Assert.False(target.Tensors["channels_last"].is_contiguous());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    [InlineData(1000)]
    public void Tensors_AreReadAndWrittenInPartsOfAnyLength(long part)
    {
        using var scope = NewDisposeScope();
        foreach (
            var tensor in new[]
            {
                rand(3, 5, 7), rand(2, 3, 4, 5).permute(0, 3, 1, 2), tensor(2.5, ScalarType.Float64), empty(0, 3),
                arange(9, ScalarType.Int16)
            })
        {
            var read = new MemoryStream();
            TensorBytes.Read(tensor, read.Write, part);
            Assert.Equal(Bytes(tensor), read.ToArray());
            var copy = zeros_like(tensor);
            read.Position = 0;
            TensorBytes.Write(copy, read.ReadExactly, part);
            Assert.True(copy.eq(tensor).all().item<bool>());
        }
    }

    /// <summary>An optimizer of a user's own that remembers what can't be kept is named when it is saved, not when it is read.</summary>
    [Fact]
    public void Save_RefusesAnOptimizerThatKeepsSomethingElse()
    {
        using var model = Network();
        using var optimizer = new Remembering(model.parameters());
        var error = Assert.Throws<ResNetNodesException>(() => Checkpoint.Save(path, model, optimizer, []));
        Assert.Contains("keeps Seen, a List`1", error.Message);
        Assert.False(File.Exists(path));
    }

    /// <summary>
    /// In a process of its own: a file beyond 2 GiB of a tensor beyond 2 GiB. Beside the network both ways take less than a part of
    /// the tensor; the file is sparse.
    /// </summary>
    [Fact]
    public void Save_AndLoad_TakeNoMemoryBesideTheNetworkBeyond2GiB()
    {
        var lines = TestProcess.Run("checkpoint", path, "2049").Select(long.Parse).ToList();
        Assert.True(lines is [var length, var saving, var loading]
            && length > 2049L << 20 && saving < 50L << 20 && loading < 100L << 20,
            string.Join(", ", lines.Select(line => $"{line >> 20} MiB")));
    }

    [Theory]
    [InlineData("missing", "can't be read")]
    [InlineData("empty", "is not a checkpoint")]
    [InlineData("foreign", "is not a checkpoint")]
    [InlineData("folder", "can't be read: it is a folder")]
    [InlineData("format 1", "is a checkpoint of format 1, and this build reads format 3")]
    [InlineData("format 2", "is a checkpoint of format 2, and this build reads format 3")]
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
            case "folder":
                File.Delete(path);
                Directory.CreateDirectory(path);
                break;
            case "format 1" or "format 2":
                File.WriteAllText(path, $"ResNetNodes checkpoint {damage[^1]}\n{new string('x', 100)}");
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

    private static Sequential Network()
    {
        random.manual_seed(1);
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2));
    }

    private static OptimizerHelper Optimizer(string name, nn.Module model) => name switch
    {
        "SGD" => optim.SGD(model.parameters(), 0.01, 0.9, weight_decay: 0.01),
        "Adam" => optim.Adam(model.parameters(), amsgrad: true),
        "AdamW" => optim.AdamW(model.parameters()),
        "Adamax" => optim.Adamax(model.parameters()),
        "NAdam" => optim.NAdam(model.parameters()),
        "RAdam" => optim.RAdam(model.parameters()),
        "RMSProp" => optim.RMSProp(model.parameters(), momentum: 0.5, centered: true),
        "Rprop" => optim.Rprop(model.parameters()),
        "Adagrad" => optim.Adagrad(model.parameters()),
        "Adadelta" => optim.Adadelta(model.parameters()),
        "ASGD" => optim.ASGD(model.parameters()),
        _ => throw new ArgumentOutOfRangeException(nameof(name)),
    };

    private static void Steps(Sequential model, OptimizerHelper optimizer, int count)
    {
        using var scope = NewDisposeScope();
        var x = Truth.Normal(7, 8, 4).to(ScalarType.Float32);
        for (var step = 0; step < count; step++)
        {
            optimizer.zero_grad();
            model.call(x).pow(2).sum().backward();
            optimizer.step();
        }
    }

    private static List<byte[]> Raw(nn.Module model) => [.. model.state_dict().Values.Select(Bytes)];

    private static byte[] Bytes(Tensor tensor) => tensor.detach().contiguous().bytes.ToArray();

    private static List<float> Bits(nn.Module model) =>
        [.. model.state_dict().Values.SelectMany(t => t.to(ScalarType.Float32).data<float>())];

    private static void Step(TinyResNet model, SGD sgd)
    {
        using var scope = NewDisposeScope();
        sgd.zero_grad();
        model.call(Truth.Normal(3, 4, 3, 32, 32).to(ScalarType.Float32)).pow(2).sum().backward();
        sgd.step();
    }

    private sealed class Holder : nn.Module
    {
        public Holder(int value)
            : base(nameof(Holder))
        {
            foreach (
                var type in Enum.GetValues<ScalarType>().Where(
                    type => type is not (ScalarType.Bool or ScalarType.Float32) && type <= ScalarType.BFloat16 && (int)type < 12))
            {
                Add($"{type}", full([2, 3], value, type));
            }

            Add("float32", full([2, 3], value, ScalarType.Float32));
            Add("bool", tensor(new[] { value > 0, false }));
            Add("scalar", tensor(value, ScalarType.Int64));
            Add("empty", empty(0, 4));
            Add("channels_last", (rand(2, 3, 4, 5) * value).permute(0, 3, 1, 2));
        }

        public Dictionary<string, Tensor> Tensors { get; } = [];

        private void Add(string name, Tensor tensor)
        {
            Tensors.Add(name, tensor);
            register_buffer(name, tensor);
        }
    }

    private sealed class Remembering(IEnumerable<Parameter> parameters) : SGD(parameters, 0.1)
    {
        public override StateDictionary state_dict()
        {
            var state = base.state_dict();
            state.Options[0] = new Log();
            return state;
        }

        private sealed class Log : OptimizerOptions
        {
            public List<int> Seen = [];
        }
    }
}
