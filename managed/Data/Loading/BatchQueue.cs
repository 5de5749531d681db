using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Data;

/// <summary>The batches of one epoch in preparation: workers take image after image, the consumer batch after batch.</summary>
internal sealed class BatchQueue : IDisposable
{
    // Batches prepared while the consumer works on one.
    private const int Ahead = 2;

    /// <summary>Batches in memory at a time.</summary>
    public const int Held = Ahead + 1;

    private readonly ImageDataset data;
    private readonly Augmentation augmentation;
    private readonly IReadOnlyList<ArraySegment<int>> batches;
    private readonly long seed;
    private readonly int epoch;
    private readonly Task[] threads;
    private readonly object gate = new();
    // All below belong to the gate.
    private readonly Queue<Pending> pending = new();
    private Pending? newest;
    private ExceptionDispatchInfo? broken;
    private int begun;
    private int slot;
    private int taken;
    private bool stopped;

    /// <param name="data">The images.</param>
    /// <param name="augmentation">How they become inputs.</param>
    /// <param name="batches">The images of each batch; there may be none in one.</param>
    /// <param name="seed">Of the augmentation.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="workers">Threads.</param>
    public BatchQueue(
        ImageDataset data, Augmentation augmentation, IReadOnlyList<ArraySegment<int>> batches, long seed, int epoch, int workers)
    {
        (this.data, this.augmentation, this.batches, this.seed, this.epoch) = (data, augmentation, batches, seed, epoch);
        threads = [.. Enumerable.Range(0, workers).Select(_ =>
            Task.Factory.StartNew(Work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
    }

    /// <summary>Waits for the next batch.</summary>
    /// <param name="index">Its number in the epoch.</param>
    /// <returns>It, or null if all of its images were skipped; and how many were.</returns>
    public (Batch? Batch, int Skipped) Take(int index)
    {
        Pending batch;
        lock (gate)
        {
            while (pending.Count == 0 || pending.Peek().Missing > 0)
            {
                broken?.Throw();
                Monitor.Wait(gate);
            }

            batch = pending.Dequeue();
            taken++;
            Monitor.PulseAll(gate);
        }

        using (batch)
        {
            // Of several failures that of the first image, as if there were one worker.
            Array.Find(batch.Failures, failure => failure is not null)?.Throw();
            return batch.ToBatch(index);
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            stopped = true;
            Monitor.PulseAll(gate);
        }

        Task.WaitAll(threads);
        foreach (var batch in pending)
        {
            batch.Dispose();
        }
    }

    private void Work()
    {
        try
        {
            while (NextImage() is var (batch, slot, index))
            {
                Prepare(batch, slot, index);
                lock (gate)
                {
                    if (--batch.Missing == 0)
                    {
                        Monitor.PulseAll(gate);
                    }
                }
            }
        }
        catch (Exception exception)
        {
            // No memory for a batch, say: whoever waits for it must hear of it.
            lock (gate)
            {
                broken ??= ExceptionDispatchInfo.Capture(exception);
                stopped = true;
                Monitor.PulseAll(gate);
            }
        }
    }

    private void Prepare(Pending batch, int slot, int index)
    {
        try
        {
            if (data.Read(index) is { } image)
            {
                // A view of its own: a span over the whole batch could not reach beyond 2 GiB.
                using var target = batch.Images[slot];
                augmentation.Apply(image, index, seed, epoch, MemoryMarshal.Cast<byte, float>(target.bytes));
                batch.Labels[slot] = data.Label(index);
            }
        }
        catch (Exception exception)
        {
            // Belongs to the consumer: it is thrown there, as itself.
            batch.Failures[slot] = ExceptionDispatchInfo.Capture(exception);
        }
    }

    private (Pending Batch, int Slot, int Index)? NextImage()
    {
        lock (gate)
        {
            // The batch of the last image is done: the next one that has images begins.
            while (!stopped && (newest is null || slot == batches[begun - 1].Count))
            {
                if (begun == batches.Count)
                {
                    return null;
                }

                if (begun >= taken + Ahead)
                {
                    Monitor.Wait(gate);
                    continue;
                }

                var count = batches[begun].Count;
                newest = new Pending(
                    count, empty([count, augmentation.Channels, augmentation.Size, augmentation.Size], ScalarType.Float32));
                pending.Enqueue(newest);
                (begun, slot) = (begun + 1, 0);
                if (count == 0)
                {
                    Monitor.PulseAll(gate);
                }
            }

            if (stopped)
            {
                return null;
            }

            return (newest!, slot, batches[begun - 1][slot++]);
        }
    }

    private sealed class Pending(int count, Tensor images) : IDisposable
    {
        private const long Skipped = -1;
        private bool handedOver;

        public Tensor Images { get; } = images;

        public long[] Labels { get; } = [.. Enumerable.Repeat(Skipped, count)];

        public ExceptionDispatchInfo?[] Failures { get; } = new ExceptionDispatchInfo?[count];

        public int Missing { get; set; } = count;

        public (Batch? Batch, int Skipped) ToBatch(int index)
        {
            var kept = Enumerable.Range(0, Labels.Length).Where(slot => Labels[slot] != Skipped).Select(slot => (long)slot).ToArray();
            var skipped = Labels.Length - kept.Length;
            if (kept.Length == 0)
            {
                return (null, skipped);
            }

            using var scope = NewDisposeScope();
            var labels = tensor(Array.ConvertAll(kept, slot => Labels[slot]), ScalarType.Int64);
            var images = skipped == 0 ? Images : Images.index_select(0, tensor(kept, ScalarType.Int64));
            handedOver = skipped == 0;
            return (new Batch(images.DetachFromDisposeScope(), labels.DetachFromDisposeScope(), index), skipped);
        }

        public void Dispose()
        {
            if (!handedOver)
            {
                Images.Dispose();
            }
        }
    }
}
