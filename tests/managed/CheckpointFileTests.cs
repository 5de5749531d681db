using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>Files of the right digest and wrong content: one clear error each, and nothing has changed.</summary>
public sealed class CheckpointFileTests : IDisposable
{
    private static readonly byte[] Magic = "ResNetNodes checkpoint 3\n"u8.ToArray();

    /// <summary>What is done to the header, and what the error says.</summary>
    private static readonly Dictionary<string, (Action<JsonObject> Change, string Error)> Changes = new()
    {
        ["history is null"] = (h => h["History"] = null, "is damaged (its header can't be read"),
        ["history of null"] = (h => h["History"] = new JsonArray(null, null), "is damaged (in its history epoch 1 is missing)"),
        ["history of no numbers"] = (h => h["History"]![0]!["TrainLoss"] = "much", "is damaged (its header can't be read"),
        ["history without a number"] = (h => h["History"]![0]!.AsObject().Remove("TestLoss"), "is damaged (its header can't be read"),
        ["history of other epochs"] = (h => h["History"]![0]!["Epoch"] = 7, "is damaged (in its history epoch 1 is missing)"),
        ["something unknown"] = (h => h["Weights"] = 1, "is damaged (its header can't be read"),
        ["generator is null"] = (h => h["Generator"] = null, "is damaged (its header can't be read"),
        ["generator is no base64"] = (h => h["Generator"] = "!", "is damaged (its header can't be read"),
        ["generator is empty"] = (h => h["Generator"] = "", "is damaged (its random numbers are none of LibTorch's)"),
        ["generator of another length"] = (h => Generator(h, state => state[..100]), "none of LibTorch's"),
        ["generator of LibTorch's old length"] = (h => Generator(h, state => state[..^8]), "none of LibTorch's"),
        ["generator of garbage"] = (
            h => Generator(h, state => [.. Enumerable.Range(0, state.Length).Select(i => (byte)((i * 37) + 11))]),
            "none of LibTorch's"),
        ["generator of zeros"] = (h => Generator(h, state => new byte[state.Length]), "none of LibTorch's"),
        ["generator with more left than it has"] = (h => Generator(h, state => Number(state, 8, 624, 16, 624)), "none of LibTorch's"),
        ["generator with none left"] = (h => Generator(h, state => Number(state, 8, 0, 16, 0)), "none of LibTorch's"),
        ["generator that was never seeded"] = (h => Generator(h, state => Number(state, 12, 0, 12, 0)), "none of LibTorch's"),
        ["learned is null"] = (h => h["Learned"] = null, "is damaged (its header can't be read"),
        ["learned of null"] = (h => h["Learned"]!["stage"] = null, "is damaged (its header has gaps)"),
        ["learned of another length"] = (h => Learned(h, numbers => numbers[..^1]), "belongs to another network (stage: "),
        ["learned of half a number"] = (h => h["Learned"]!["stage"] = "AAAA", "belongs to another network (stage: "),
        ["learned of garbage"] = (h => Learned(h, numbers => [.. numbers.Select(_ => 1e300)]), "belongs to another network (stage: "),
        ["learned of no numbers"] = (
            h => Learned(h, numbers => [.. numbers.Select(_ => double.NaN)]),
            "belongs to another network (stage: "),
        ["learned of endless numbers"] = (
            h => Learned(h, numbers => [0, double.PositiveInfinity, .. numbers[2..]]),
            "belongs to another network (stage: "),
        ["learned of another stage"] = (
            h => h["Learned"]!.AsObject().Add("other", ""),
            "belongs to another network (its stages are stage, other, here stage)"),
        ["no optimizer"] = (h => h["Optimizer"] = null, "it holds a network alone, and no optimizer"),
        ["an optimizer of another class"] = (h => h["Optimizer"]!["Class"] = "Adam", "its optimizer is Adam of 1 groups, here SGD of 1"),
        ["an optimizer without groups"] = (
            h => h["Optimizer"]!["Groups"] = new JsonArray(),
            "its optimizer is SGD of 0 groups, here SGD of 1"),
        ["an optimizer of null"] = (h => h["Optimizer"]!["Groups"]![0] = null, "its header has gaps"),
        ["an optimizer of a null state"] = (h => h["Optimizer"]!["Groups"]![0]!["Parameters"]![0] = null, "its header has gaps"),
        ["an optimizer of other parameters"] = (
            h => h["Optimizer"]!["Groups"]![0]!["Parameters"]![0]!["Parameter"] = "x",
            "trains other parameters (x)"),
        ["an optimizer with a word for a number"] = (
            h => h["Optimizer"]!["Groups"]![0]!["Options"]!["momentum"] = "much",
            "its optimizer's momentum can't be much"),
        ["an optimizer without a number"] = (
            h => h["Optimizer"]!["Groups"]![0]!["Options"]!["InitialLearningRate"] = null,
            "its optimizer's InitialLearningRate is missing"),
        ["an optimizer with other options"] = (
            h => h["Optimizer"]!["Groups"]![0]!["Options"]!.AsObject().Remove("nesterov"),
            "its optimizer keeps "),
        ["no tensors"] = (h => h["Tensors"] = new JsonArray(), "bytes belong to no tensor"),
        ["tensors of null"] = (h => h["Tensors"]!.AsArray().Insert(0, null), "names nothing twice, or lacks a part"),
        ["a tensor without shape"] = (h => Tensor(h)["Shape"] = null, "is damaged (its header can't be read"),
        ["a tensor of a negative size"] = (h => Tensor(h)["Shape"]![0] = -4, "can't be"),
        ["two negative sizes"] = (h => (Tensor(h)["Shape"]![0], Tensor(h)["Shape"]![1]) = (-4, -3), "can't be"),
        ["a tensor of an endless size"] = (h => Tensor(h)["Shape"] = new JsonArray(long.MaxValue, long.MaxValue), "can't be"),
        ["a tensor of negative bytes"] = (h => Tensor(h)["Bytes"] = -1, "can't be"),
        ["a tensor beyond the file"] = (h => (Tensor(h)["Shape"], Tensor(h)["Bytes"]) = (new JsonArray(1L << 40), 1L << 42), "can't be"),
        ["a tensor of unknown type"] = (h => Tensor(h)["Type"] = "Float12", "is damaged (its header can't be read"),
        ["a tensor of a number for a type"] = (h => Tensor(h)["Type"] = 6, "is damaged (its header can't be read"),
        ["a tensor of another type of the same size"] = (h => Tensor(h)["Type"] = "Int32", "belongs to another network (stem."),
        ["a tensor of another shape of the same size"] = (
            h => Tensor(h)["Shape"] = new JsonArray([.. Tensor(h)["Shape"]!.AsArray().Reverse().Select(n => n!.DeepClone())]),
            "belongs to another network (stem."),
        ["a tensor twice"] = (h => h["Tensors"]![1] = h["Tensors"]![0]!.DeepClone(), "twice, or lacks a part"),
        ["a tensor of another name"] = (h => Tensor(h)["Name"] = "other", "belongs to another network (it has no stem."),
        ["one tensor more"] = (h => h["Tensors"]!.AsArray().Add(Empty("Network")), "it has odd, which this network has not"),
        ["one tensor of the optimizer more"] = (h => h["Tensors"]!.AsArray().Add(Empty("Optimizer")), "its optimizer has odd, here not"),
        ["a velocity of another shape"] = (
            h => Velocity(h)["Shape"] = new JsonArray([.. Velocity(h)["Shape"]!.AsArray().Reverse().Select(n => n!.DeepClone())]),
            "momentum_buffer is Float32"),
        ["a velocity of another type"] = (h => Velocity(h)["Type"] = "Int32", "momentum_buffer is Int32"),
        ["facts of null"] = (h => h["Facts"] = JsonNode.Parse("""{"Epochs": 1, "Run": [null], "Data": null}"""), "its header has gaps"),
        ["a fact of null"] = (
            h => h["Facts"] = JsonNode.Parse("""{"Epochs": 1, "Run": [{"Name": "a", "Values": [null]}], "Data": null}"""),
            "its header has gaps"),
        ["a fact twice"] = (
            h => h["Facts"] = JsonNode.Parse(
                """{"Epochs": 1, "Run": [{"Name": "a", "Values": []}, {"Name": "a", "Values": []}], "Data": null}"""),
            "its header has gaps"),
        ["facts without epochs"] = (h => h["Facts"] = JsonNode.Parse("""{"Epochs": -1, "Run": [], "Data": null}"""), "its header has gaps"),
    };

    // In the second epoch, of 10 batches, after the fifth; one of them had no image that could be decoded.
    private const string Begun = """
        {"Epoch": 2, "BatchCount": 10, "Batches": 5, "Steps": 4, "Images": 80, "Loss": 120.5, "Correct": 20, "StateError": 1e-4,
        "ReconstructionError": null, "KeptStates": 8, "ReplayedStates": 0, "PeakBytes": 1000000,
        "Times": {"Seconds": 4.5, "Waited": 0.5, "Steps": 3, "Stages": 2, "Optimizer": 0.5}}
        """,
        KnownRun = """{"Epochs": 3, "Run": [{"Name": "a", "Values": ["1"]}], "Data": []}""";

    /// <summary>What is done to a header with an epoch that was begun.</summary>
    private static readonly Dictionary<string, (Action<JsonObject> Change, string Error)> BegunChanges = new()
    {
        ["another epoch"] = (h => h["Begun"]!["Epoch"] = 1, "Epoch of its begun epoch can't be 1"),
        ["an epoch that is not the next"] = (h => h["Begun"]!["Epoch"] = 3, "Epoch of its begun epoch can't be 3"),
        ["batches beyond the epoch"] = (h => h["Begun"]!["Batches"] = 11, "Batches of its begun epoch can't be 11"),
        ["no batch"] = (h => (h["Begun"]!["Batches"], h["Begun"]!["Steps"]) = (0, 0), "Batches of its begun epoch can't be 0"),
        ["negative batches"] = (h => h["Begun"]!["Batches"] = -1, "Batches of its begun epoch can't be -1"),
        ["no batches in the epoch"] = (h => h["Begun"]!["BatchCount"] = 0, "Batches of its begun epoch can't be 5"),
        ["batches that are no number of 31 bits"] = (h => h["Begun"]!["Batches"] = 1L << 31, "its header can't be read"),
        ["no step"] = (h => h["Begun"]!["Steps"] = 0, "Steps of its begun epoch can't be 0"),
        ["more steps than batches"] = (h => h["Begun"]!["Steps"] = 6, "Steps of its begun epoch can't be 6"),
        ["half a step"] = (h => h["Begun"]!["Steps"] = 2.5, "its header can't be read"),
        ["fewer images than steps"] = (h => h["Begun"]!["Images"] = 3, "Images of its begun epoch can't be 3"),
        ["more right than images"] = (h => h["Begun"]!["Correct"] = 81, "Correct of its begun epoch can't be 81"),
        ["negative right"] = (h => h["Begun"]!["Correct"] = -1, "Correct of its begun epoch can't be -1"),
        ["a loss that is no number"] = (h => h["Begun"]!["Loss"] = "NaN", "Loss of its begun epoch can't be NaN"),
        ["no loss"] = (h => h["Begun"]!["Loss"] = null, "its header can't be read"),
        ["a missing loss"] = (h => h["Begun"]!.AsObject().Remove("Loss"), "its header can't be read"),
        ["something unknown"] = (h => h["Begun"]!["Accuracy"] = 1, "its header can't be read"),
        ["a negative error"] = (h => h["Begun"]!["StateError"] = -0.5, "StateError of its begun epoch can't be -0.5"),
        ["a negative error of the input"] = (
            h => h["Begun"]!["ReconstructionError"] = "-Infinity",
            "ReconstructionError of its begun epoch can't be -"),
        ["negative states"] = (h => h["Begun"]!["KeptStates"] = -8, "KeptStates of its begun epoch can't be -8"),
        ["negative replayed states"] = (h => h["Begun"]!["ReplayedStates"] = -8, "ReplayedStates of its begun epoch can't be -8"),
        ["negative time"] = (h => h["Begun"]!["Times"]!["Seconds"] = -1, "Seconds of its begun epoch can't be -1"),
        ["endless time"] = (h => h["Begun"]!["Times"]!["Waited"] = "Infinity", "Waited of its begun epoch can't be"),
        ["time that is no number"] = (h => h["Begun"]!["Times"]!["Optimizer"] = "NaN", "Optimizer of its begun epoch can't be NaN"),
        ["no times"] = (h => h["Begun"]!["Times"] = null, "its header can't be read"),
        ["negative memory"] = (h => h["Begun"]!["PeakBytes"] = -1, "PeakBytes of its begun epoch can't be -1"),
        ["no run"] = (h => h["Facts"] = null, "its epoch 2 was begun by no trainer that it tells of"),
        ["a run without images"] = (h => h["Facts"]!["Data"] = null, "its epoch 2 was begun by no trainer that it tells of"),
        ["a shorter run"] = (h => h["Facts"]!["Epochs"] = 1, "its epoch 2 was begun by no trainer that it tells of"),
        ["no finished epoch"] = (h => h["History"] = new JsonArray(), "Epoch of its begun epoch can't be 2"),
        ["no words"] = (h => h["Begun"] = "begun", "its header can't be read"),
        ["no mention"] = (h => h.Remove("Begun"), "its header can't be read"),
    };

    private readonly string path = Path.Combine(Directory.CreateTempSubdirectory("checkpoint").FullName, "c.bin");

    public static TheoryData<string> Contents => [.. Changes.Keys];

    public static TheoryData<string> BegunContents => [.. BegunChanges.Keys];

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);

    [Theory]
    [MemberData(nameof(Contents))]
    public void Load_RefusesWrongContentOfTheRightDigest(string what)
    {
        Save();
        var (header, tensors) = Split(File.ReadAllBytes(path));
        var node = JsonNode.Parse(header)!.AsObject();
        Changes[what].Change(node);
        Write(Encoding.UTF8.GetBytes(node.ToJsonString()), tensors);
        Refuses(Changes[what].Error);
    }

    [Theory]
    [MemberData(nameof(BegunContents))]
    public void Load_RefusesABegunEpochThatCantBe(string what)
    {
        Save();
        var (header, tensors) = Split(File.ReadAllBytes(path));
        var node = JsonNode.Parse(header)!.AsObject();
        (node["Begun"], node["Facts"]) = (JsonNode.Parse(Begun), JsonNode.Parse(KnownRun));
        Write(Encoding.UTF8.GetBytes(node.ToJsonString()), tensors);
        using (var file = CheckpointFile.Open(path))
        {
            Assert.Equal((2, 5, 120.5), (file.Header.Begun!.Epoch, file.Header.Begun.Batches, file.Header.Begun.Loss));
        }

        BegunChanges[what].Change(node);
        Write(Encoding.UTF8.GetBytes(node.ToJsonString()), tensors);
        Refuses("is damaged (");
        Refuses(BegunChanges[what].Error);
    }

    /// <summary>Headers that no change of a good one makes.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("no JSON")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"History\": [], \"History\": []}")]
    [InlineData("\u0000\u0001")]
    public void Load_RefusesAHeaderThatIsNone(string header)
    {
        Save();
        Write(Encoding.UTF8.GetBytes(header), Split(File.ReadAllBytes(path)).Tensors);
        Refuses("is damaged (");
    }

    [Fact]
    public void Load_RefusesAHeaderOfEndlessDepth()
    {
        Save();
        Write(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("{\"History\":", 100_000))), []);
        Refuses("is damaged (its header can't be read");
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(long.MinValue)]
    [InlineData(long.MaxValue)]
    [InlineData(1L << 30)]
    [InlineData(int.MaxValue)]
    public void Load_RefusesAHeaderLengthBeyondTheFile(long length)
    {
        Save();
        var (header, tensors) = Split(File.ReadAllBytes(path));
        Write(header, tensors, length);
        Refuses($"is damaged (its header can't be {length} bytes long)");
    }

    /// <summary>Bytes after the last tensor, or too few of them.</summary>
    [Theory]
    [InlineData(-1)]
    [InlineData(1)]
    public void Load_RefusesOtherLengths(int more)
    {
        Save();
        var (header, tensors) = Split(File.ReadAllBytes(path));
        Write(header, more < 0 ? tensors[..^1] : [.. tensors, 0]);
        Refuses(more < 0 ? "can't be" : "1 bytes belong to no tensor");
    }

    /// <summary>The helpers of this class write what the library reads.</summary>
    [Fact]
    public void Load_ReadsAFileThatWasTakenApart()
    {
        Save();
        var (header, tensors) = Split(File.ReadAllBytes(path));
        Write(Encoding.UTF8.GetBytes(JsonNode.Parse(header)!.ToJsonString()), tensors);
        using var model = Model(2);
        using var sgd = optim.SGD(model.parameters(), 0.5, 0.5);
        Assert.Single(Checkpoint.Load(path, model, sgd));
        Assert.Equal(0.1, sgd.ParamGroups.Single().LearningRate);
    }

    private static TinyResNet Model(long seed) =>
        new(new TinyResNetOptions { Depth = 2, Planes = 4, Seed = seed, Stage = new() { Reconstruction = Reconstruction.Adaptive() } });

    private static JsonObject Tensor(JsonObject header) => header["Tensors"]![0]!.AsObject();

    private static JsonObject Velocity(JsonObject header) =>
        header["Tensors"]!.AsArray().First(t => $"{t!["Role"]}" == "Optimizer")!.AsObject();

    private static JsonNode Empty(string role) =>
        JsonNode.Parse($$"""{"Role": "{{role}}", "Name": "odd", "Type": "Float32", "Shape": [0], "Bytes": 0}""")!;

    private static void Generator(JsonObject header, Func<byte[], byte[]> change) =>
        header["Generator"] = Convert.ToBase64String(change(Convert.FromBase64String($"{header["Generator"]}")));

    private static byte[] Number(byte[] state, int at, int value, int otherAt, int other)
    {
        BinaryPrimitives.WriteInt32LittleEndian(state.AsSpan(at), value);
        BinaryPrimitives.WriteInt32LittleEndian(state.AsSpan(otherAt), other);
        return state;
    }

    private static void Learned(JsonObject header, Func<double[], double[]> change)
    {
        var bytes = Convert.FromBase64String($"{header["Learned"]!["stage"]}");
        var numbers = new double[bytes.Length / sizeof(double)];
        Buffer.BlockCopy(bytes, 0, numbers, 0, bytes.Length);
        var changed = change(numbers);
        bytes = new byte[changed.Length * sizeof(double)];
        Buffer.BlockCopy(changed, 0, bytes, 0, bytes.Length);
        header["Learned"]!["stage"] = Convert.ToBase64String(bytes);
    }

    private static (byte[] Header, byte[] Tensors) Split(byte[] file)
    {
        Assert.Equal(Magic, file[..Magic.Length]);
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(Magic.Length));
        var first = Magic.Length + sizeof(long);
        return (file[first..(first + length)], file[(first + length)..^SHA256.HashSizeInBytes]);
    }

    private static void Step(TinyResNet model, SGD sgd)
    {
        using var scope = NewDisposeScope();
        model.call(Truth.Normal(3, 2, 3, 32, 32).to(ScalarType.Float32)).pow(2).sum().backward();
        sgd.step();
    }

    private static List<byte[]> State(TinyResNet model, SGD sgd) =>
    [
        .. model.state_dict().Values.Select(t => t.detach().contiguous().bytes.ToArray()),
        .. sgd.state_dict().State.Select(s => ((SGD.State)s).momentum_buffer.bytes.ToArray()),
        [.. ((ILearningStage)model.Stage).Learned.SelectMany(BitConverter.GetBytes)],
        BitConverter.GetBytes(sgd.ParamGroups.Single().LearningRate),
        RandomNumbers.TorchState(),
    ];

    private void Save()
    {
        using var model = Model(1);
        using var sgd = optim.SGD(model.parameters(), 0.1, 0.9);
        Step(model, sgd);
        Checkpoint.Save(path, model, sgd, [new(1, 2.25, 0.125, 2.5, 0.25, 0.1, 3, 0.1, 0.8, 0.5, 0.1, 1L << 40, null, 3, 0.5, 1e-9)]);
    }

    private void Write(byte[] header, byte[] tensors, long? length = null)
    {
        var number = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(number, length ?? header.Length);
        byte[] body = [.. Magic, .. number, .. header, .. tensors];
        File.WriteAllBytes(path, [.. body, .. SHA256.HashData(body)]);
    }

    private void Refuses(string message)
    {
        using var scope = NewDisposeScope();
        using var model = Model(2);
        using var sgd = optim.SGD(model.parameters(), 0.3, 0.9);
        Step(model, sgd);
        var before = State(model, sgd);
        var error = Assert.Throws<ResNetNodesException>(() => Checkpoint.Load(path, model, sgd));
        Assert.StartsWith($"{path}: ", error.Message);
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
        Assert.Equal(before, State(model, sgd));
    }
}
