using System.Globalization;
using ResNetNodes;
using ResNetNodes.Data;
using ResNetNodes.Measuring;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

// Measures memory in a process of its own: that of a process in which other tests run says nothing about one of them.
//   training EXECUTION COMPUTE-TYPE PARTS STEPS   trains a small network; writes what is resident after each part of so many steps
//   calls EXECUTION PARTS CALLS                   calls a stage; likewise
//   step MEBIBYTES                                writes peak and own memory of a step that takes so much
//   archive FILE                                  reads an archive of CIFAR-10, six images a file; writes why not, and its peak of memory
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
    case "step":
        var (peak, own) = MemoryProbe.Measure(() => ones((long)Number(1) << 18).Dispose());
        Console.WriteLine(peak);
        Console.WriteLine(own);
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
    default:
        throw new ArgumentException($"{args[0]} is unknown");
}

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
