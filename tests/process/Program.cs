using System.Globalization;
using ResNetNodes;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using TorchSharp;
using static TorchSharp.torch;

// Trains a small network and writes the resident memory, in bytes, after each part of the training. A process of its own: the
// memory of one that other tests run in says nothing about this training.
//   usage: ResNetNodes.TestProcess EXECUTION COMPUTE-TYPE PARTS STEPS-PER-PART
CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
set_num_threads(1); // threads that wait for one another measure how busy the machine is
var stage = new StageOptions { Execution = Enum.Parse<StageExecution>(args[0]), ComputeType = Enum.Parse<ComputeType>(args[1]) };
var (parts, steps) = (int.Parse(args[2], CultureInfo.InvariantCulture), int.Parse(args[3], CultureInfo.InvariantCulture));
using var model = new TinyResNet(new TinyResNetOptions { Depth = 3, Planes = 8, Seed = 1, Stage = stage });
using var optimizer = optim.SGD(model.parameters(), 0.01, momentum: 0.9);
using var loss = nn.CrossEntropyLoss();
using var images = rand(32, 3, 32, 32);
using var labels = randint(0, 10, 32, ScalarType.Int64);
for (var part = 0; part < parts; part++)
{
    for (var step = 0; step < steps; step++)
    {
        using var scope = NewDisposeScope();
        optimizer.zero_grad();
        loss.call(model.call(images), labels).backward();
        optimizer.step();
    }

    // At rest: what is garbage, managed or native, is no leak.
    var resident = MemoryProbe.ResidentAtRest();
    Console.WriteLine(resident);
}
