using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Data;

/// <summary>A batch; whoever takes it disposes it.</summary>
/// <param name="Images">[B, channels, size, size] float32.</param>
/// <param name="Labels">[B] int64.</param>
public sealed record Batch(Tensor Images, Tensor Labels) : IDisposable
{
    /// <summary>B.</summary>
    public int Count => (int)Labels.shape[0];

    /// <inheritdoc/>
    public void Dispose()
    {
        Images.Dispose();
        Labels.Dispose();
    }
}

/// <summary>
/// Prepares batches on other threads, a few ahead. Order and augmentation depend on seed and epoch alone, not on the number of
/// workers.
/// </summary>
public sealed class BatchLoader
{
    private const int Ahead = 2;
    private readonly ImageDataset data;
    private readonly Augmentation augmentation;
    private readonly int batchSize;
    private readonly long? shuffleSeed;
    private readonly int workers;

    /// <summary>Takes a data set.</summary>
    /// <param name="data">The images.</param>
    /// <param name="augmentation">How they become inputs.</param>
    /// <param name="batchSize">Images a batch; the last may be smaller.</param>
    /// <param name="shuffleSeed">Seed of order and augmentation; null keeps the order.</param>
    /// <param name="workers">Threads that prepare batches.</param>
    public BatchLoader(ImageDataset data, Augmentation augmentation, int batchSize, long? shuffleSeed, int workers = 1)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(augmentation);
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(workers, 1);
        (this.data, this.augmentation, this.batchSize, this.shuffleSeed, this.workers) = (data, augmentation, batchSize, shuffleSeed, workers);
    }

    /// <summary>Batches an epoch.</summary>
    public int BatchCount => (data.Count + batchSize - 1) / batchSize;

    /// <summary>How long the consumer has waited for batches, over all epochs.</summary>
    public TimeSpan Waited { get; private set; }

    /// <summary>The batches of an epoch, in order.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <returns>The batches; each is the caller's to dispose.</returns>
    public IEnumerable<Batch> Epoch(int epoch)
    {
        var order = Order(epoch);
        using var stop = new CancellationTokenSource();
        // Worker w prepares batches w, w + workers, ...: taking from the queues in turn keeps the order.
        var queues = Enumerable.Range(0, workers).Select(_ => new BlockingCollection<Prepared>(Ahead)).ToArray();
        var threads = queues.Select((queue, w) => Task.Factory.StartNew(
            () => Work(queue, w, order, epoch, stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();
        try
        {
            for (var i = 0; i < BatchCount; i++)
            {
                var before = Stopwatch.GetTimestamp();
                var prepared = queues[i % workers].Take();
                Waited += Stopwatch.GetElapsedTime(before);
                prepared.Failure?.Throw();
                yield return prepared.ToBatch(augmentation);
            }
        }
        finally
        {
            stop.Cancel();
            Task.WaitAll(threads);
            Array.ForEach(queues, queue => queue.Dispose());
        }
    }

    private int[] Order(int epoch)
    {
        var order = Enumerable.Range(0, data.Count).ToArray();
        if (shuffleSeed is { } seed)
        {
            new Random(HashCode(seed, epoch)).Shuffle(order);
        }

        return order;
    }

    // System.HashCode is seeded anew in each process; this one is not.
    private static int HashCode(long seed, int epoch) => unchecked((int)((seed * 31) + (epoch * 0x9E3779B1L)) & 0x7FFFFFFF);

    private void Work(BlockingCollection<Prepared> queue, int worker, int[] order, int epoch, CancellationToken stop)
    {
        try
        {
            for (var batch = worker; batch < BatchCount; batch += workers)
            {
                queue.Add(Prepare(order, batch, epoch), stop);
            }
        }
        catch (OperationCanceledException)
        {
            // The consumer has left.
        }
        catch (Exception exception)
        {
            // Belongs to the consumer: it is thrown there, as itself.
            queue.TryAdd(new Prepared([], [], ExceptionDispatchInfo.Capture(exception)), Timeout.Infinite, stop);
        }
    }

    private Prepared Prepare(int[] order, int batch, int epoch)
    {
        var indices = order.AsSpan(batch * batchSize, Math.Min(batchSize, order.Length - (batch * batchSize)));
        var length = augmentation.Channels * augmentation.Size * augmentation.Size;
        var images = new float[indices.Length * length];
        var labels = new long[indices.Length];
        for (var i = 0; i < indices.Length; i++)
        {
            augmentation.Apply(data, indices[i], shuffleSeed ?? 0, epoch, images.AsSpan(i * length, length));
            labels[i] = data.Labels[indices[i]];
        }

        return new Prepared(images, labels, null);
    }

    private sealed record Prepared(float[] Images, long[] Labels, ExceptionDispatchInfo? Failure)
    {
        public Batch ToBatch(Augmentation a) => new(
            tensor(Images, [Labels.Length, a.Channels, a.Size, a.Size], ScalarType.Float32).DetachFromDisposeScope(),
            tensor(Labels, ScalarType.Int64).DetachFromDisposeScope());
    }
}
