using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using ResNetNodes;
using ResNetNodes.Data;
using ResNetNodes.Measuring;
using ResNetNodes.Networks;
using ResNetNodes.Planning;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

// What needs a process of its own, mostly to measure memory: that of a process in which other tests run says nothing about one of them.
//   training EXECUTION COMPUTE-TYPE PARTS STEPS   trains a small network; writes what is resident after each part of so many steps
//   calls EXECUTION PARTS CALLS                   calls a stage; likewise
//   checkpoint FILE MEBIBYTES                     saves and loads a network of one large tensor; writes the file's length, and by how much
//                                                 the peak of what is resident has risen after each
//   step MEBIBYTES                                writes peak and own memory of a step that takes so much
//   runs EXECUTION SEGMENTS                       trains a sequence of 16 layers in so many runs; writes the step's own memory
//   budget NETWORK SHARE                          trains a network within a budget, that share of the way from the least to the most;
//                                                 writes the budget and the step's own memory
//   archive FILE                                  reads an archive of CIFAR-10, six images a file; writes why not, and its peak of memory
//   weights write|read FOLDER                    writes or reads files of weights, for scripts/check-weights.sh
//   pretrained features WEIGHTS JPEGS FILE        writes images and their features, for scripts/check-pretrained.sh
//   pretrained train WEIGHTS DATA IMAGES          trains from the weights and from random ones; writes accuracies
//   ranks train FILE NETWORK STEPS [...]        under mpirun: trains a network together with the other ranks (RankedTraining)
//   ranks REFUSAL                               under mpirun: what ranks refuse; writes the message
//   page FILE                                     runs the program of a page of the documentation, compiled into that assembly, in its
//                                                 folder
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
set_num_threads(1); // threads that wait for one another measure how busy the machine is
switch (args[0])
{
    case "training":
        Train(Enum.Parse<StageExecution>(args[1]), Enum.Parse<ComputeType>(args[2]), Number(3), Number(4));
        break;
    case "calls":
        Call(Enum.Parse<StageExecution>(args[1]), Number(2), Number(3));
        break;
    case "checkpoint":
        SaveAndLoad(args[1], (long)Number(2) << 20);
        break;
    case "step":
        var (peak, own) = MemoryProbe.Measure(() => ones((long)Number(1) << 18).Dispose());
        Console.WriteLine(peak);
        Console.WriteLine(own);
        break;
    case "runs":
        Recompute(Enum.Parse<StageExecution>(args[1]), Number(2));
        break;
    case "budget":
        Budget(args[1], double.Parse(args[2], CultureInfo.InvariantCulture));
        break;
    case "archive":
        var before = MemoryProbe.ResidentBytes;
        var why = string.Empty;
        try
        {
            Cifar.Load(args[1], train: true, Cifar.Variant.Ten, 6);
        }
        catch (ResNetNodesException exception)
        {
            why = exception.Message;
        }

        Console.WriteLine(why);
        Console.WriteLine(MemoryProbe.PeakBytes - before);
        break;
    case "pretrained" when args[1] == "features":
        Pretrained.WriteFeatures(args[2], args[3], args[4]);
        break;
    case "pretrained":
        Pretrained.Train(args[2], args[3], Number(4));
        break;
    case "weights" when args[1] == "write":
        WeightsExchange.Write(args[2]);
        break;
    case "weights":
        WeightsExchange.Read(args[2]);
        break;
    case "ranks":
        return RankedTraining.Run(args[1..]);
    case "page":
        Environment.CurrentDirectory = Path.GetDirectoryName(args[1])!;
        Assembly.LoadFrom(args[1]).EntryPoint!.Invoke(null, [Array.Empty<string>()]);
        break;
    default:
        throw new ArgumentException($"{args[0]} is unknown");
}

return 0;

int Number(int i) => int.Parse(args[i], CultureInfo.InvariantCulture);

static void Train(StageExecution execution, ComputeType computeType, int parts, int steps)
{
    var stage = new StageOptions { Execution = execution, ComputeType = computeType };
    using var model = new TinyResNet(new TinyResNetOptions { Depth = 3, Planes = 8, Seed = 1, Stage = stage });
    using var optimizer = optim.SGD(model.parameters(), 0.01, momentum: 0.9);
    using var loss = nn.CrossEntropyLoss();
    using var images = rand(32, 3, 32, 32);
    using var labels = randint(0, 10, 32, ScalarType.Int64);
    WriteResident(parts, steps, () =>
    {
        using var scope = NewDisposeScope();
        optimizer.zero_grad();
        loss.call(model.call(images), labels).backward();
        optimizer.step();
    });
}

static void Call(StageExecution execution, int parts, int calls)
{
    using var stage = ResidualStage.Shared(nn.Linear(4, 4), 2, new StageOptions { Execution = execution });
    stage.eval();
    using var guard = no_grad();
    using var x = rand(2, 4);
    WriteResident(parts, calls, () => stage.call(x).Dispose());
}

static void Recompute(StageExecution execution, int segments)
{
    var layers = Enumerable.Range(0, 16).Select(_ => nn.Sequential(nn.Linear(64, 64), nn.Tanh()));
    using var network = Recomputed.Sequential(layers, segments, new RecomputedOptions { Execution = execution });
    using var x = rand(1 << 15, 64);
    _ = mallopt(-3, 1 << 20); // M_MMAP_THRESHOLD: each activation is a mapping of its own, whose memory goes back when it is freed
    Console.WriteLine(MemoryProbe.Measure(() =>
    {
        using var scope = NewDisposeScope();
        network.call(x).mean().backward();
    }, warmup: 2, repeats: 2).StepBytes);

    [DllImport("libc")]
    static extern int mallopt(int parameter, int value);
}

static void Budget(string network, double share)
{
    var (batch, pixels) = network == "tiny" ? (256, 32) : (32, 48);
    (nn.Module<Tensor, Tensor> Network, MemoryPlanner Planner) Made(long budget)
    {
        var type = network == "bfloat16" ? ComputeType.BFloat16 : ComputeType.SameAsState;
        var stage = new StageOptions { AccumulateGradientsInPlace = true, ComputeType = type };
        if (network == "tiny")
        {
            var tiny = new TinyResNet(new() { Depth = 24, ZeroInit = false, Seed = 1, Stage = stage, MemoryBudget = budget });
            return (tiny, tiny.Planner!);
        }

        var size = NetworkSize.Custom([2, 3, 10, 2], bottleneck: network != "basic");
        var large = new ResNet(new() { Size = size, Planes = 16, Seed = 1, Stage = stage, MemoryBudget = budget });
        return (large, large.Planner!);
    }

    // Each tensor is a mapping of its own, whose memory goes back when it is freed.
    _ = mallopt(-3, 1 << 14);
    using var images = rand(batch, 3, pixels, pixels);
    var plan = Made(1L << 40).Planner.Prepare(images);
    var budget = plan.LeastBytes + (long)(share * (plan.MostBytes - plan.LeastBytes));
    var model = Made(budget).Network;
    using var optimizer = optim.SGD(model.parameters(), 0.01, momentum: 0.9);
    Console.WriteLine(budget);
    Console.WriteLine(MemoryProbe.Measure(() =>
    {
        using var scope = NewDisposeScope();
        foreach (var parameter in model.parameters())
        {
            parameter.grad?.zero_();
        }

        model.call(images).pow(2).mean().BackwardThroughStages();
        optimizer.step();
    }, warmup: 6, repeats: 2).StepBytes);

    [DllImport("libc")]
    static extern int mallopt(int parameter, int value);
}

static void SaveAndLoad(string path, long bytes)
{
    using var small = nn.Linear(2, 2);
    Checkpoint.Save(path, small, null, []); // all that is needed once
    // All of it is resident before: kernels differ in whether memory that nobody has written becomes so when it is read.
    var large = zeros(bytes, ScalarType.Byte);
    large.zero_();
    (long At, byte Value)[] marks = [(0, 1), (int.MaxValue, 2), (int.MaxValue + 1L, 3), (bytes - 1, 4)];
    foreach (var (at, value) in marks)
    {
        large[at] = value;
    }

    using var model = new Holder(large);
    var before = MemoryProbe.PeakBytes;
    using (var file = new FileStream(path, FileMode.Create))
    using (var sparse = new SparseWriter(file))
    {
        new SavedTraining(model, null).Write(sparse, [], null, null, null);
    }

    Console.WriteLine(new FileInfo(path).Length);
    Console.WriteLine(MemoryProbe.PeakBytes - before);
    foreach (var (at, _) in marks)
    {
        large[at] = 9;
    }

    Checkpoint.Load(path, model, null);
    if (marks.Any(mark => large[mark.At].item<byte>() != mark.Value))
    {
        throw new InvalidOperationException("the tensor is another one");
    }

    Console.WriteLine(MemoryProbe.PeakBytes - before);
}

static void WriteResident(int parts, int steps, Action step)
{
    for (var part = 0; part < parts; part++)
    {
        for (var i = 0; i < steps; i++)
        {
            step();
        }

        // At rest: what is garbage, managed or native, is no leak.
        var resident = MemoryProbe.ResidentAtRest();
        Console.WriteLine(resident);
    }
}

/// <summary>Leaves holes in a file where zeros are written.</summary>
internal sealed class SparseWriter(FileStream file) : Stream
{
    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => file.Length;

    public override long Position { get => file.Position; set => throw new NotSupportedException(); }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (buffer.ContainsAnyExcept((byte)0))
        {
            file.Write(buffer);
        }
        else
        {
            file.Seek(buffer.Length, SeekOrigin.Current);
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush() => file.Flush();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}

/// <summary>A network of one buffer.</summary>
internal sealed class Holder : nn.Module
{
    public Holder(Tensor tensor)
        : base(nameof(Holder)) => register_buffer("large", tensor);
}
