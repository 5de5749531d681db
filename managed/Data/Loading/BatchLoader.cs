using System.Diagnostics;
using System.Globalization;

namespace ResNetNodes.Data;

/// <summary>
/// Prepares batches on other threads, two ahead. Order, augmentation and every bit depend only on seed and epoch, not on the
/// number of workers.
/// </summary>
/// <remarks>
/// Images that the set skips are left out of their batch, which is then smaller; an empty batch is left out. The images of
/// a batch are spread over all workers, so that memory holds three batches for any number of workers.
/// </remarks>
public sealed class BatchLoader
{
    private readonly ImageDataset data;
    private readonly Augmentation augmentation;
    private readonly int batchSize;
    private readonly long? shuffleSeed;
    private readonly int workers;
    private readonly bool dropLast;

    /// <summary>Loads batches of a data set.</summary>
    /// <param name="data">The images.</param>
    /// <param name="augmentation">How they become inputs; it is checked here.</param>
    /// <param name="batchSize">Images in a batch; the last may be smaller. Where it is more than the set, the set is one batch.</param>
    /// <param name="shuffleSeed">Seed of order and augmentation; null keeps the order.</param>
    /// <param name="workers">Threads that decode and augment; null for half of the cores, at least 1 and at most 8.</param>
    /// <param name="dropLast">Whether the last batch is left out where it is smaller than the others.</param>
    /// <exception cref="ResNetNodesException">No batch would be left, or batches do not fit into memory.</exception>
    public BatchLoader(
        ImageDataset data, Augmentation augmentation, int batchSize, long? shuffleSeed, int? workers = null, bool dropLast = false)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(augmentation);
        augmentation.Validate();
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        var threads = workers ?? DefaultWorkers;
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1, nameof(workers));
        (this.data, this.augmentation, this.batchSize, this.shuffleSeed) = (data, augmentation, batchSize, shuffleSeed);
        (this.workers, this.dropLast) = (threads, dropLast);
        BatchCount = (int)(dropLast ? data.Count / batchSize : (data.Count + (long)batchSize - 1) / batchSize);
        if (dropLast && BatchCount == 0)
        {
            throw new ResNetNodesException(
                $"{data.Name}: its {data.Count} images are fewer than a batch of {batchSize}, and --drop-last leaves out what is "
                + "smaller; use smaller batches, or keep the last");
        }

        var (held, images) = (Math.Min(BatchCount, BatchQueue.Held), Math.Min(batchSize, data.Count));
        var needed = (double)held * images * augmentation.Channels * augmentation.Size * augmentation.Size * sizeof(float);
        if (needed > MachineMemory.Available)
        {
            throw new ResNetNodesException(
                $"{data.Name}: batches of {images} images of {augmentation.Channels}×{augmentation.Size}×{augmentation.Size} need "
                + $"{needed / (1 << 30):0.#} GiB ({held} at a time), and this machine has "
                + $"{MachineMemory.Available / (1 << 30):0.#}; use smaller batches");
        }
    }

    /// <summary>Half of the cores, at least 1 and at most 8: the network needs the rest.</summary>
    internal static int DefaultWorkers => Math.Clamp(Environment.ProcessorCount / 2, 1, 8);

    /// <summary>Batches in an epoch.</summary>
    public int BatchCount { get; }

    /// <summary>What the bits of its batches depend on.</summary>
    internal IReadOnlyList<Fact> Facts =>
    [
        .. Fact.OfImages(data),
        new("batch size", [$"{batchSize}"]),
        new("last, smaller batch", [dropLast ? "left out" : "kept"]),
        new("shuffle seed", [shuffleSeed?.ToString(CultureInfo.InvariantCulture) ?? "none"]),
        Fact.Of("augmentation", augmentation),
    ];

    /// <summary>What a network is given of its batches, less what is random.</summary>
    internal InputDescription Input => InputDescription.Of(augmentation);

    /// <summary>The classes' names in order, if known.</summary>
    internal IReadOnlyList<string>? ClassNames => data.ClassNames;

    /// <summary>The time spent waiting for batches, over all epochs.</summary>
    internal TimeSpan Waited { get; private set; }

    /// <summary>Damaged images left out of the batches handed over so far, over all epochs.</summary>
    public long Skipped { get; private set; }

    /// <summary>The batches of an epoch, in order.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <returns>The batches; each is the caller's to dispose.</returns>
    /// <exception cref="ResNetNodesException">An image can't be read; or none can, if damaged ones are skipped.</exception>
    public IEnumerable<Batch> Epoch(int epoch) => Epoch(epoch, 0);

    /// <summary>The batches of an epoch from one on, bit for bit as if those before it had been taken; these are not decoded.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="first">The first batch (<see cref="Batch.Index"/>), from 0; <see cref="BatchCount"/> for none.</param>
    /// <returns>The batches; each is the caller's to dispose.</returns>
    /// <exception cref="ArgumentOutOfRangeException">There is no such batch.</exception>
    /// <exception cref="ResNetNodesException">An image can't be read; or none of all can, if damaged ones are skipped.</exception>
    public IEnumerable<Batch> Epoch(int epoch, int first) => Epoch(epoch, first, BatchShare.All);

    /// <summary>One epoch after the other, without an end. A loader of which no image can be decoded throws.</summary>
    internal IEnumerable<Batch> Endless()
    {
        for (var epoch = 0; ; epoch++)
        {
            foreach (var batch in Epoch(epoch))
            {
                yield return batch;
            }
        }
    }

    /// <summary>The same as <see cref="Epoch(int, int)"/>, of one rank's share of each batch; a share of no image is left out where it is not needed.</summary>
    internal IEnumerable<Batch> Epoch(int epoch, int first, BatchShare share)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(first);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(first, BatchCount);
        return From(epoch, first, share);
    }

    /// <summary>Checks that each rank has an image of every batch.</summary>
    /// <param name="ranks">How many share it.</param>
    /// <exception cref="ResNetNodesException">One has none.</exception>
    internal void RequireShares(int ranks)
    {
        var smallest = (int)(data.Count - ((long)(BatchCount - 1) * batchSize));
        if (batchSize < ranks || smallest < ranks)
        {
            throw new ResNetNodesException(batchSize < ranks || BatchCount == 1
                ? $"{data.Name}: {ranks} ranks can't share batches of {Math.Min(batchSize, smallest)} images; take fewer ranks or larger "
                    + "batches"
                : $"{data.Name}: the last batch of an epoch has {smallest} images, fewer than the {ranks} ranks; take --drop-last, another "
                    + "--batch or fewer ranks");
        }
    }

    private IEnumerable<Batch> From(int epoch, int first, BatchShare share)
    {
        var order = Order(epoch);
        var batches = Enumerable.Range(first, BatchCount - first)
            .Select(i => share.Of(new ArraySegment<int>(order, i * batchSize, Math.Min(batchSize, order.Length - (i * batchSize)))));
        using var queue = new BatchQueue(data, augmentation, [.. batches], shuffleSeed ?? 0, epoch, workers);
        // Whoever begins later has had a batch.
        var any = data.Count == 0 || first > 0;
        for (var i = first; i < BatchCount; i++)
        {
            var before = Stopwatch.GetTimestamp();
            var (batch, skipped) = queue.Take(i);
            Waited += Stopwatch.GetElapsedTime(before);
            Skipped += skipped;
            if (batch is not null)
            {
                any = true;
                yield return batch;
            }
            else if (share.IsNeeded)
            {
                throw new ResNetNodesException(
                    $"{data.Name}: none of the images of rank {share.Rank} in batch {i + 1} can be decoded; take fewer ranks, or larger "
                    + "batches");
            }
        }

        // Of several ranks, others may have had some.
        if (!any && share.Ranks == 1)
        {
            throw new ResNetNodesException($"{data.Name}: none of its {data.Count} images can be decoded; turn skipping off to see why");
        }
    }

    private int[] Order(int epoch)
    {
        var order = Enumerable.Range(0, data.Count).ToArray();
        if (shuffleSeed is { } seed)
        {
            new RandomNumbers(seed).OfEpoch(epoch).Shuffle(order);
        }

        return order[..(int)Math.Min(order.Length, (long)BatchCount * batchSize)];
    }
}
