using System.Diagnostics;
using ResNetNodes;
using ResNetNodes.Distributed;
using ResNetNodes.Networks;
using TorchSharp;
using static TorchSharp.torch;

/// <summary>Gradients that travel during the backward pass, against those that travel after it.</summary>
internal static class OverlappedGradients
{
    private const int Planes = 64, Depth = 10, Images = 2;

    public static void Run(Communicator ranks)
    {
        Same(ranks);
        Refused(ranks);
    }

    // The first step makes the buckets: gradients travel early from the second on.
    private static void Same(Communicator ranks)
    {
        foreach (var solver in new[] { Solver.Euler, Solver.Heun })
        {
            using var early = new DataParallel(Network(solver), ranks);
            using var late = new DataParallel(Network(solver), ranks) { Overlap = false };
            // Never goes back: its stage's gradients wait for it, to the end.
            Tensor? given = null;
            for (var step = 0; step < 4; step++)
            {
                using var scope = NewDisposeScope();
                if (step == 3)
                {
                    given = early.call(Batch(ranks, step)).DetachFromDisposeScope();
                }

                foreach (var model in new[] { early, late })
                {
                    Clear(model);
                    var loss = model.call(Batch(ranks, step)).square().mean();
                    model.ExpectBackward();
                    var begin = Stopwatch.GetTimestamp();
                    loss.backward();
                    var backward = Stopwatch.GetElapsedTime(begin);
                    Check(
                        model == late || model.BucketStarts.Count == (step is 0 or 3 ? 0 : 2),
                        $"step {step}: {model.BucketStarts.Count} early");
                    model.AverageGradients();
                    Check(model.BucketStarts.Count == 3, $"{model.BucketStarts.Count} buckets");
                    Check(
                        model.BucketStarts.Sum(start => start.Bytes) == model.parameters().Sum(p => p.NumberOfElements * p.element_size()),
                        "other bytes");
                    var times = model.BucketStarts.Select(start => start.Time).ToList();
                    Check(times.SequenceEqual(times.Order()), "out of order");
                    Check(times[0] < backward == (model == early && step is (1 or 2)), $"step {step}: {times[0]} of {backward}");
                }

                foreach (var (one, other) in early.parameters().Zip(late.parameters()))
                {
                    Check(one.grad!.equal(other.grad!).all().item<bool>(), $"step {step}: other gradients");
                }
            }

            given!.Dispose();
        }
    }

    private static void Refused(Communicator ranks)
    {
        Throws<ArgumentOutOfRangeException>(ranks, "images", (model, batch) =>
        {
            model.ExpectBackward();
            model.call(batch).square().mean().backward();
            model.AverageGradients(Images);
        });
        Throws<ResNetNodesException>(ranks, "a second backward pass adds to it", (model, batch) =>
        {
            model.ExpectBackward();
            model.call(batch).square().mean().BackwardThroughStages();
            model.call(batch).square().mean().BackwardThroughStages();
        });
        // Two that were recorded before are waited for; a third is refused.
        Throws<ResNetNodesException>(ranks, "a second backward pass adds to it", (model, batch) =>
        {
            model.ExpectBackward();
            var other = model.call(batch);
            model.call(batch).square().mean().BackwardThroughStages();
            other.square().mean().BackwardThroughStages();
            Check(model.BucketStarts.Count == 2, "complete after both");
            model.call(batch).square().mean().BackwardThroughStages();
        });
        Throws<ResNetNodesException>(ranks, "set DataParallel.Overlap to false", (model, batch) =>
        {
            model.ExpectBackward();
            var weight = ((TinyResNet)model.Module).Stage.parameters().First();
            (model.call(batch).square().mean() + weight.square().sum()).backward();
            model.AverageGradients();
        });
    }

    // From the second step on, when gradients travel early.
    private static void Throws<T>(Communicator ranks, string message, Action<DataParallel, Tensor> action)
        where T : Exception
    {
        using var scope = NewDisposeScope();
        using var model = new DataParallel(Network(Solver.Euler), ranks);
        model.call(Batch(ranks, 0)).square().mean().backward();
        model.AverageGradients();
        try
        {
            action(model, Batch(ranks, 1));
        }
        catch (T exception) when (exception.Message.Contains(message, StringComparison.Ordinal))
        {
            // What has started is waited for: ranks go on together.
            model.ExpectBackward();
            return;
        }

        throw new InvalidOperationException($"no {typeof(T).Name} that says: {message}");
    }

    private static TinyResNet Network(Solver solver)
    {
        var network = new TinyResNet(new()
        {
            Depth = Depth,
            Planes = Planes,
            Seed = 3,
            ZeroInit = false,
            Stage = new() { Solver = solver, AccumulateGradientsInPlace = true },
        });
        network.to(ScalarType.Float64);
        return network;
    }

    private static Tensor Batch(Communicator ranks, int step)
    {
        using var random = new RandomNumbers((100 * step) + ranks.Rank).TorchScope();
        return randn(Images, 3, 32, 32, ScalarType.Float64);
    }

    private static void Clear(DataParallel model)
    {
        foreach (var parameter in model.parameters())
        {
            using var gradient = parameter.grad;
            gradient?.zero_();
        }
    }

    private static void Check(bool holds, string what)
    {
        if (!holds)
        {
            throw new InvalidOperationException(what);
        }
    }
}
