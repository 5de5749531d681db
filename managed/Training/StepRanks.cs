using System.Runtime.InteropServices;
using ResNetNodes.Data;
using ResNetNodes.Distributed;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// What the ranks of a training do together, so that all have the same weights, buffers and learned steps after each step, bit for bit.
/// One alone does nothing of it.
/// </summary>
internal sealed class StepRanks
{
    // What a stage may have learned beside three numbers a step: shapes.
    private const int NumbersPerStep = 3, NumbersOfShapes = 48;
    private const int PieceBytes = 16 << 20;

    private readonly DataParallel? parallel;
    private readonly List<ILearningStage> stages;
    private double[]? counts;
    private Tensor? sending;
    private Communication? sent;

    /// <param name="parallel">The network of several ranks; null: there is one.</param>
    /// <param name="model">The network itself.</param>
    public StepRanks(DataParallel? parallel, nn.Module model)
    {
        this.parallel = parallel;
        stages = [.. ILearningStage.Of(model).Select(stage => stage.Stage)];
    }

    /// <summary>Whether there are no others.</summary>
    public bool IsAlone => parallel is null;

    /// <summary>This one, from 0.</summary>
    public int Rank => parallel?.Ranks.Rank ?? 0;

    /// <summary>How many there are.</summary>
    public int Size => parallel?.Ranks.Size ?? 1;

    /// <summary>Its images of a training batch.</summary>
    public BatchShare TrainingShare => new(Rank, Size, !IsAlone);

    /// <summary>Its images of a batch of others.</summary>
    public BatchShare Share => new(Rank, Size, false);

    /// <summary>Checks that all ranks train alike.</summary>
    /// <param name="facts">What training depends on.</param>
    /// <exception cref="ResNetNodesException">This rank has other facts than rank 0.</exception>
    public void RequireSame(RunFacts facts) =>
        parallel?.Ranks.RequireSame(
            [.. facts.Run.Concat(facts.Data ?? []).Select(fact => $"{fact.Name} {string.Join(", ", fact.Values)}")]);

    /// <summary>Before a batch: tells the others how many images this rank has. It travels during the forward pass.</summary>
    public void Begin(long images)
    {
        if (parallel is null)
        {
            counts = [images];
            return;
        }

        Forget();
        sending = zeros(Size, ScalarType.Float64).DetachFromDisposeScope();
        MemoryMarshal.Cast<byte, double>(sending.bytes)[Rank] = images;
        sent = parallel.Ranks.StartSum(sending);
    }

    /// <summary>The images of the batch: rank 0's, and those of all ranks.</summary>
    public (long First, long All) Images()
    {
        if (sent is not null)
        {
            sent.Wait();
            counts = sending!.data<double>().ToArray();
            Forget();
        }

        return ((long)counts![0], (long)counts.Sum());
    }

    /// <summary>After a batch's backward pass: what all ranks have found.</summary>
    /// <param name="own">What this one has.</param>
    /// <param name="moves">
    /// Whether the batch is the last of a step: gradients become their sums over the ranks, buffers their mean, and what stages have
    /// learned is rank 0's.
    /// </param>
    public StepFigures Exchange(StepFigures own, bool moves) =>
        parallel is null ? own : StepFigures.Of(moves ? Join(parallel, own.Numbers) : parallel.Ranks.Gather(own.Numbers));

    /// <summary>The same of a step whose last batch has been exchanged already.</summary>
    public void SumGradients()
    {
        if (parallel is not null)
        {
            Join(parallel, []);
        }
    }

    /// <summary>Before a backward pass.</summary>
    /// <param name="completes">Whether it completes the gradients of a step: they may begin to travel in it.</param>
    public void ExpectBackward(bool completes)
    {
        if (completes)
        {
            parallel?.ExpectBackward();
        }
    }

    /// <summary>
    /// Whether this rank goes back from its loss, which it does not from one that is no finite number. Ranks that need each other in the
    /// backward pass go back all, or none.
    /// </summary>
    public bool GoesBack(double loss) => parallel is { SynchronizesNorms: true }
        ? parallel.Ranks.Gather(loss).All(of => double.IsFinite(of[0]))
        : double.IsFinite(loss);

    /// <summary>A number that all ranks have but for rounding: rank 0's.</summary>
    public double Agreed(double number) => parallel is null ? number : parallel.Ranks.Gather(number)[0][0];

    /// <summary>Adds numbers up over the ranks.</summary>
    public double[] Sum(params double[] own) => parallel is null
        ? own
        : parallel.Ranks.Gather(own).Aggregate((one, other) => [.. one.Zip(other, (a, b) => a + b)]);

    /// <summary>Reads a file of rank 0, first there and then on all others.</summary>
    /// <param name="path">Its path there.</param>
    /// <param name="read">Takes where it lies here.</param>
    public void Read(string path, Action<string> read)
    {
        if (Rank == 0)
        {
            read(path);
        }

        if (parallel is null)
        {
            return;
        }

        var copy = Rank == 0 ? path : Path.GetTempFileName();
        try
        {
            Send(parallel.Ranks, copy);
            if (Rank > 0)
            {
                read(copy);
            }
        }
        finally
        {
            if (Rank > 0)
            {
                File.Delete(copy);
            }
        }

        // Buffers have changed on all: from now on they change from there.
        parallel.Synchronize();
    }

    private void Forget()
    {
        sending?.Dispose();
        (sending, sent) = (null, null);
    }

    private void Send(Communicator ranks, string path)
    {
        using var file = new FileStream(path, FileMode.Open, Rank == 0 ? FileAccess.Read : FileAccess.ReadWrite);
        using var scope = NewDisposeScope();
        var length = (long)ranks.Gather(file.Length)[0][0];
        var piece = empty(Math.Min(length, PieceBytes), ScalarType.Byte);
        for (long at = 0; at < length; at += PieceBytes)
        {
            var bytes = piece.bytes[..(int)Math.Min(PieceBytes, length - at)];
            if (Rank == 0)
            {
                file.ReadExactly(bytes);
            }

            ranks.Broadcast(piece);
            if (Rank > 0)
            {
                file.Write(bytes);
            }
        }
    }

    // One sum of numbers, beside those of gradients and buffers: which parameters have gradients, the figures of each rank, and what
    // rank 0's stages have learned.
    private List<double[]> Join(DataParallel network, double[] figures)
    {
        var (ranks, gradients) = (network.Ranks, network.Gradients);
        using var scope = NewDisposeScope();
        var room = stages.ConvertAll(stage => 1 + (NumbersPerStep * stage.Depth) + NumbersOfShapes);
        var numbers = zeros(gradients.Count + (figures.Length * Size) + room.Sum(), ScalarType.Float64);
        gradients.Present().CopyTo(Numbers());
        figures.CopyTo(Numbers()[(gradients.Count + (figures.Length * Rank))..]);
        var begin = gradients.Count + (figures.Length * Size);
        if (Rank == 0)
        {
            Write(begin);
        }

        // Of the gradients, some are on their way on some ranks already: all others follow at once.
        gradients.Start();
        var sum = ranks.StartSum(numbers);
        network.Buffers.Start(ranks);
        sum.Wait();
        gradients.Finish(Numbers()[..gradients.Count]);
        network.Buffers.Finish(Size);
        if (Rank > 0)
        {
            Take(begin);
        }

        var all = Numbers()[gradients.Count..begin].ToArray();
        return figures.Length == 0 ? [] : [.. all.Chunk(figures.Length)];

        Span<double> Numbers() => MemoryMarshal.Cast<byte, double>(numbers.bytes);

        void Write(int at)
        {
            foreach (var (stage, size) in stages.Zip(room))
            {
                double[] learned = [.. stage.Learned];
                Numbers()[at] = learned.Length;
                learned.CopyTo(Numbers()[(at + 1)..(at + size)]);
                at += size;
            }
        }

        void Take(int at)
        {
            foreach (var (stage, size) in stages.Zip(room))
            {
                var learned = Numbers().Slice(at + 1, (int)Numbers()[at]).ToArray();
                if (learned.Length > 0)
                {
                    stage.Learned = learned;
                }

                at += size;
            }
        }
    }
}
