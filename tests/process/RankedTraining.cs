using System.Globalization;
using ResNetNodes;
using ResNetNodes.Data;
using ResNetNodes.Distributed;
using ResNetNodes.Networks;
using ResNetNodes.Training;
using ResNetNodes.Weights;
using TorchSharp;
using static TorchSharp.torch;

/// <summary>Trainings by several ranks, and the same by one process that adds up the gradients of their shares.</summary>
internal static class RankedTraining
{
    private const string Synchronized = "sync-";
    private const int Images = 96, ClassCount = 3, Channels = 3;

    /// <summary>Runs one; the program's exit code.</summary>
    /// <param name="args">
    /// train FOLDER NETWORK BATCH RANKS EPOCHS [FILE]: under mpirun together, otherwise as so many ranks would, from a file if one is
    /// named; each rank leaves weights-RANK.safetensors, parameters-RANK.bin and buffers-RANK.bin, rank 0 run-N.bin after each step.
    /// sums COUNT: sums and broadcasts of random tensors. waits: waits in any order. loop: a loop of one's own. overlap: gradients that
    /// travel early. differ: another network on rank 1. fail: an exception on rank 1. open: opens the ranks twice.
    /// </param>
    public static int Run(string[] args)
    {
        using var ranks = Communicator.IsLaunched ? Communicator.OpenMpi() : null;
        try
        {
            switch (args[0])
            {
                case "train":
                    Train(ranks, args[1], args[2], Number(args[3]), Number(args[4]), Number(args[5]), args.ElementAtOrDefault(6));
                    break;
                case "sums":
                    Sums(ranks!, Number(args[1]));
                    break;
                case "waits":
                    Waits(ranks!);
                    break;
                case "loop":
                    Loop(ranks!);
                    break;
                case "overlap":
                    OverlappedGradients.Run(ranks!);
                    break;
                case "differ":
                    using (var network = Network(ranks!.Rank == 1 ? "euler-deeper" : "euler"))
                    {
                        new DataParallel(network, ranks).Dispose();
                    }

                    break;
                case "search":
                    using (var model = new DataParallel(Network("euler"), ranks!))
                    {
                        new LearningRateSearch().Run(model, new(), new BatchLoader(new RandomImages(8), Augmentation.Cifar, 4, null));
                    }

                    break;
                case "fail" when ranks!.Rank == 1:
                    throw new ResNetNodesException("this rank has a failure of its own");
                case "fail":
                    ranks.Barrier();
                    break;
                case "open":
                    Communicator.OpenMpi().Dispose();
                    break;
                default:
                    throw new ArgumentException($"{args[0]} is unknown");
            }

            return 0;
        }
        catch (Exception exception)
        {
            Console.Error.WriteLine($"rank {ranks?.Rank}: {exception.Message}");
            ranks?.Abort(7);
            return 7;
        }
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    private static void Train(Communicator? ranks, string folder, string name, int batch, int count, int epochs, string? resumed)
    {
        new RandomNumbers(3).SeedTorch();
        var network = Network(name);
        // With the statistics of whole batches, which one process has of the whole batch alone.
        var isSynchronized = name.StartsWith(Synchronized, StringComparison.Ordinal);
        using var model = ranks is null ? network : new DataParallel(network, ranks, isSynchronized);
        count = isSynchronized ? 1 : count;
        // Their sums round in another order: a rate at which that does not grow from step to step.
        var rate = isSynchronized ? 0.002 : 0.05;
        var options = Options(name) with { Epochs = epochs, LearningRate = rate, SaveSteps = 1, SaveInterval = null };
        // As so many batches of a step as there would be ranks.
        using var trainer = new Trainer(model, ranks is null ? options with { Accumulate = count } : options);
        if (resumed is not null)
        {
            trainer.Resume(resumed);
        }

        var saved = 0;
        trainer.SaveDue = () =>
        {
            if (ranks is null or { Rank: 0 })
            {
                trainer.Save(Path.Combine(folder, $"run-{saved++}.bin"));
            }
        };
        var images = new RandomImages(Images);
        var augmentation = Augmentation.Cifar with { Size = 32 };
        var train = new BatchLoader(images, augmentation, ranks is null ? batch / count : batch, 5);
        var test = new BatchLoader(images.Take(31), augmentation.WithoutRandomness(), 7, null);
        trainer.Run(train, test, metrics =>
        {
            if (ranks is null or { Rank: 0 })
            {
                Console.WriteLine(FormattableString.Invariant(
                    $"{metrics.Epoch} {metrics.TrainLoss:R} {metrics.TrainAccuracy:R} {metrics.TestLoss:R} {metrics.TestAccuracy:R}"));
            }
        });
        // Whatever rank a file comes from, it is the same one. Running statistics stand apart: by ranks they are means.
        WeightsFile.Save(Path.Combine(folder, $"weights-{ranks?.Rank ?? 0}.safetensors"), network);
        Write("parameters", network.parameters());
        Write("buffers", network.buffers().Where(buffer => buffer.is_floating_point()));

        void Write(string what, IEnumerable<Tensor> tensors) => File.WriteAllBytes(
            Path.Combine(folder, $"{what}-{ranks?.Rank ?? 0}.bin"),
            [.. tensors.SelectMany(tensor => tensor.detach().contiguous().bytes.ToArray())]);
    }

    private static TrainingOptions Options(string name) => name switch
    {
        "adam" => new() { Optimizer = OptimizerChoice.AdamW(), ClipNorm = 0.5, AverageDecay = 0.9 },
        "mixup" => new() { Mixup = new(0.4, 3), Schedule = Schedule.Constant },
        _ => new(),
    };

    private static nn.Module<Tensor, Tensor> Network(string name)
    {
        var isSynchronized = name.StartsWith(Synchronized, StringComparison.Ordinal);
        name = isSynchronized ? name[Synchronized.Length..] : name;
        var stage = new StageOptions
        {
            Solver = name == "heun" ? Solver.Heun : Solver.Euler,
            AccumulateGradientsInPlace = name == "in-place",
            Reconstruction = name is "backprop" or "float64" ? Reconstruction.Backprop : Reconstruction.Adaptive(0.01),
            Execution = name == "called" ? StageExecution.Callback : StageExecution.Auto,
        };
        nn.Module<Tensor, Tensor> network = name is "resnet" or "tied"
            ? new ResNet(new()
            {
                Kind = name == "tied" ? ResNetKind.Tied : ResNetKind.Ode,
                Size = NetworkSize.Custom([3, 3, 3, 3], bottleneck: true),
                Classes = ClassCount,
                Planes = 8,
                Seed = 2,
                Stage = stage,
            })
            : new TinyResNet(new()
            {
                Depth = name == "euler-deeper" ? 5 : 4,
                Planes = 8,
                Classes = ClassCount,
                InputChannels = Channels,
                Seed = 2,
                Stage = stage,
                ZeroInit = false,
            });
        if (name == "float64" || isSynchronized)
        {
            network.to(ScalarType.Float64);
        }

        if (name == "frozen")
        {
            foreach (var (_, parameter) in network.named_parameters().Where(p => p.name.Contains("norm1", StringComparison.Ordinal)))
            {
                parameter.requires_grad = false;
            }
        }

        return network;
    }

    // Sizes around those of the parts that travel at a time, and of fewer elements than ranks.
    private static void Sums(Communicator ranks, int count)
    {
        var random = new RandomNumbers(count).Stream();
        foreach (var size in new[] { 0, 1, ranks.Size, 1000, (1 << 20) + 13, (5 << 20) + 1 }.Append(random.Next(100_000)))
        {
            foreach (var type in new[] { ScalarType.Float32, ScalarType.Float64, ScalarType.Int64 })
            {
                using var scope = NewDisposeScope();
                var terms = Enumerable.Range(0, ranks.Size).Select(rank => Values(size, type, rank)).ToList();
                var own = terms[ranks.Rank].clone();
                var operations = new[] { ranks.StartSum(own), ranks.StartBroadcast(terms[ranks.Rank], ranks.Size - 1) };
                foreach (var operation in operations.Reverse())
                {
                    operation.Wait();
                }

                var expected = Enumerable.Range(0, ranks.Size).Select(rank => Values(size, type, rank)).ToList();
                var sum = expected[0].clone();
                using Scalar one = 1;
                expected.Skip(1).ToList().ForEach(term => sum.add_(term, one));
                if (!own.eq(sum).all().item<bool>() || !terms[ranks.Rank].eq(expected[^1]).all().item<bool>())
                {
                    throw new InvalidOperationException($"{size} elements of {type} differ");
                }
            }
        }

        Console.WriteLine($"{ranks.Rank} of {ranks.Size}");

        static Tensor Values(int size, ScalarType type, int rank)
        {
            using var scope = new RandomNumbers(rank + 100).TorchScope();
            return type == ScalarType.Int64 ? randint(-1000, 1000, size, type) : randn(size, type);
        }
    }

    private static void Waits(Communicator ranks)
    {
        using var sum = ones(1000);
        using var number = tensor(ranks.Rank + 1L);
        var (first, second) = (ranks.StartSum(sum), ranks.StartBroadcast(number, 1));
        ranks.Barrier();
        second.Wait();
        first.Wait();
        first.Wait();
        Console.WriteLine($"{sum.sum().item<float>()} {number.item<long>()}");
    }

    // Unequal shares: the gradient is that of the mean over all images.
    private static void Loop(Communicator ranks)
    {
        using var scope = NewDisposeScope();
        using var random = new RandomNumbers(1).TorchScope();
        var x = randn(7, 3, ScalarType.Float64);
        var weight = nn.Parameter(randn(3, ScalarType.Float64));
        using var truth = nn.Linear(3, 1, hasBias: false, dtype: ScalarType.Float64);
        // On every rank another one, until it is wrapped.
        using var network = nn.Linear(3, 1, hasBias: false, dtype: ScalarType.Float64);
        using (no_grad())
        {
            network.weight.fill_(ranks.Rank);
            truth.weight.fill_(0);
        }

        using var model = new DataParallel(network, ranks);
        truth.call(x).sub(1).square().mean().backward();
        var (first, end) = (7 * ranks.Rank / ranks.Size, 7 * (ranks.Rank + 1) / ranks.Size);
        for (var i = 0; i < 2; i++)
        {
            network.weight.grad?.zero_();
            model.call(x[first..end]).sub(1).square().mean().backward();
            model.AverageGradients(end - first);
            var off = (network.weight.grad! - truth.weight.grad!).abs().max().item<double>();
            if (!(off < 1e-14))
            {
                throw new InvalidOperationException($"the gradient is off by {off}");
            }
        }
    }

    private sealed class RandomImages(int count)
        : ImageDataset("random", [.. Enumerable.Range(0, count).Select(i => i % ClassCount)], ClassCount, null)
    {
        public override ImageBytes? Read(int index)
        {
            var bytes = new byte[Channels * 32 * 32];
            new RandomNumbers(index).Stream().NextBytes(bytes);
            return new(bytes, Channels, 32, 32);
        }

        public override ImageDataset Take(int number) => new RandomImages(Math.Min(number, Count));
    }
}
