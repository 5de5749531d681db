using ResNetNodes.Data;
using TorchSharp;
using Xunit;

namespace ResNetNodes.Tests;

public sealed class BatchLoaderTests
{
    private static readonly Augmentation Small = Augmentation.ImageNet with { Size = 8, Resize = 9 };

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void Epoch_IsTheSameWithAnyNumberOfWorkers(int workers)
    {
        ImageDataset[] sets = [SyntheticImages.Create(105, 1), new Scripted(105, skipped: i => i % 7 == 3)];
        foreach (var data in sets)
        {
            foreach (var augmentation in new[] { Augmentation.Cifar, Small })
            {
                var one = Taken(new BatchLoader(data, augmentation, 20, 7, 1), 0);
                Assert.Equal(6, one.Count);
                var several = Taken(new BatchLoader(data, augmentation, 20, 7, workers), 0);
                Assert.Equal(one.SelectMany(b => b.Images), several.SelectMany(b => b.Images));
                Assert.Equal(one.Select(b => b.Labels), several.Select(b => b.Labels));
                Assert.NotEqual(one[0].Labels, Taken(new BatchLoader(data, augmentation, 20, 7, workers), 1)[0].Labels);
            }
        }
    }

    [Fact]
    public void Epoch_HoldsEachImageOnce()
    {
        var loader = new BatchLoader(new Scripted(95), Small, 10, 3, 2);
        Assert.Equal(10, loader.BatchCount);
        var labels = Taken(loader, 0).Select(b => b.Labels).ToList();
        Assert.Equal([10, 10, 10, 10, 10, 10, 10, 10, 10, 5], labels.Select(l => l.Length));
        // Classes beyond a byte: label i is 10 i.
        Assert.Equal(Enumerable.Range(0, 95).Select(i => 10L * i), labels.SelectMany(l => l).Order());
        Assert.Equal(
            Enumerable.Range(0, 95).Select(i => 10L * i),
            Taken(new BatchLoader(new Scripted(95), Small, 10, null, 2), 0).SelectMany(b => b.Labels));
    }

    [Fact]
    public void Endless_IsOneEpochAfterTheOther()
    {
        var loader = new BatchLoader(new Scripted(23), Small, 5, 3, 2);
        var labels = new List<long>();
        foreach (var batch in loader.Endless().Take(12))
        {
            using (batch)
            {
                labels.AddRange(batch.Labels.data<long>());
            }
        }

        Assert.Equal(
            Enumerable.Range(0, 3).SelectMany(epoch => Taken(loader, epoch)).Take(12).SelectMany(batch => batch.Labels), labels);
        Assert.Throws<ResNetNodesException>(() => new BatchLoader(new Scripted(23, skipped: _ => true), Small, 5, 3, 2).Endless().First());
    }

    [Theory]
    [InlineData(96)]
    [InlineData(int.MaxValue)]
    public void ABatchLargerThanTheSet_IsTheSet(int batchSize)
    {
        var loader = new BatchLoader(new Scripted(95), Small, batchSize, 3, 2);
        Assert.Equal(1, loader.BatchCount);
        Assert.Equal(Enumerable.Range(0, 95).Select(i => 10L * i), Assert.Single(Taken(loader, 0)).Labels.Order());
    }

    [Theory]
    [InlineData(95, 10, 9)]
    [InlineData(90, 10, 9)]
    [InlineData(95, 94, 1)]
    [InlineData(95, 95, 1)]
    public void DropLast_LeavesOutTheLastIfItIsSmaller(int count, int batchSize, int batches)
    {
        var data = new Scripted(count);
        var loader = new BatchLoader(data, Small, batchSize, 3, 2, dropLast: true);
        Assert.Equal(batches, loader.BatchCount);
        var taken = Taken(loader, 1);
        Assert.Equal(Enumerable.Repeat(batchSize, batches), taken.Select(b => b.Labels.Length));
        var all = Taken(new BatchLoader(data, Small, batchSize, 3, 2), 1);
        Assert.Equal(all.Take(batches).Select(b => b.Labels), taken.Select(b => b.Labels));
        Assert.Equal(all.Take(batches).SelectMany(b => b.Images), taken.SelectMany(b => b.Images));
    }

    [Theory]
    [InlineData(96)]
    [InlineData(int.MaxValue)]
    public void DropLast_ThatLeavesNothing_IsRefused(int batchSize)
    {
        var error = Assert.Throws<ResNetNodesException>(() => new BatchLoader(new Scripted(95), Small, batchSize, 3, 2, dropLast: true));
        Assert.StartsWith($"scripted: its 95 images are fewer than a batch of {batchSize}", error.Message);
    }

    [Fact]
    public void BatchesBeyondTheMemory_AreToldBeforeItIsTaken()
    {
        // 95 images of 1.2 TB.
        var large = Augmentation.ImageNet with { Size = 320_000, Resize = 320_000 };
        var error = Assert.Throws<ResNetNodesException>(() => new BatchLoader(new Scripted(95), large, int.MaxValue, 3, 2));
        Assert.StartsWith(
            "scripted: batches of 95 images of 3×320000×320000 need 108718.9 GiB (1 at a time), and this machine has ", error.Message);
        Assert.EndsWith("; use smaller batches", error.Message);
    }

    [Fact]
    public void Epoch_AppliesTheAugmentation()
    {
        var data = new Scripted(12);
        var expected = new float[3 * 64];
        var place = 0;
        foreach (var (images, labels) in Taken(new BatchLoader(data, Small, 5, 4, 2), 6))
        {
            for (var i = 0; i < labels.Length; i++, place++)
            {
                var index = (int)labels[i] / 10;
                Small.Apply(data.Read(index)!.Value, index, 4, 6, expected);
                Assert.Equal(expected, images[(i * 192)..((i + 1) * 192)]);
            }
        }

        Assert.Equal(12, place);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void SkippedImages_MakeTheirBatchSmallerAndAreCounted(int workers)
    {
        // The second batch has none left, and does not come.
        var loader = new BatchLoader(new Scripted(20, skipped: i => i is 2 or (>= 5 and < 10) or 19), Small, 5, null, workers);
        var batches = Taken(loader, 0);
        Assert.Equal([0, 10, 30, 40], batches[0].Labels);
        Assert.Equal([100, 110, 120, 130, 140], batches[1].Labels);
        Assert.Equal([150, 160, 170, 180], batches[2].Labels);
        Assert.Equal(7, loader.Skipped);
        Taken(loader, 1);
        Assert.Equal(14, loader.Skipped);
    }

    [Fact]
    public void OnlySkippedImages_AreAFailure()
    {
        var error = Assert.Throws<ResNetNodesException>(
            () => Taken(new BatchLoader(new Scripted(9, skipped: _ => true), Small, 5, null, 2), 0));
        Assert.Contains("none of its 9 images can be decoded", error.Message);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public void Failures_ReachTheConsumerAsThemselvesInOrder(int workers)
    {
        var loader = new BatchLoader(new Scripted(40, failing: i => i is 17 or 18 or 35), Small, 5, null, workers);
        var done = 0;
        var error = Assert.Throws<ResNetNodesException>(() =>
        {
            foreach (var batch in loader.Epoch(0))
            {
                batch.Dispose();
                done++;
            }
        });
        Assert.Equal((3, "image 17 is broken"), (done, error.Message));
        Assert.Throws<ArgumentException>(
            () => Taken(new BatchLoader(SyntheticImages.Create(20, 1, size: 40), Augmentation.Cifar, 10, 1, workers), 0));
    }

    [Fact]
    public void Epoch_ReadsAFewBatchesAheadAlone()
    {
        var data = new Scripted(1000);
        using (var batches = new BatchLoader(data, Small, 5, null, 3).Epoch(0).GetEnumerator())
        {
            Assert.True(batches.MoveNext());
            batches.Current.Dispose();
        }

        Assert.InRange(data.Reads, 5, 3 * 5);
    }

    /// <summary>From any batch on, the rest of the epoch, without a look at the images before; empty batches count.</summary>
    [Theory]
    [InlineData(1, 1L)]
    [InlineData(3, 1L)]
    [InlineData(2, null)]
    public void Epoch_BeginsAtAnyBatch(int workers, long? seed)
    {
        // Of 23 images in batches of 5, the second batch in order is left out.
        Scripted Data() => new(23, skipped: seed is null ? i => i is >= 5 and < 10 : i => i % 7 == 3);
        var whole = new BatchLoader(Data(), Small, 5, seed, workers).Epoch(2).Select(Taken).ToList();
        for (var first = 0; first <= 5; first++)
        {
            var data = Data();
            var rest = new BatchLoader(data, Small, 5, seed, workers).Epoch(2, first).Select(Taken).ToList();
            Assert.Equal(whole.Where(batch => batch.Index >= first), rest, SameBatch);
            Assert.Equal(Math.Max(0, 23 - (5 * first)), data.Reads);
        }

        Assert.Equal(seed is null ? [0, 2, 3, 4] : [0, 1, 2, 3, 4], whole.Select(batch => batch.Index));
        var loader = new BatchLoader(Data(), Small, 5, seed, workers);
        Assert.Throws<ArgumentOutOfRangeException>(() => loader.Epoch(2, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => loader.Epoch(2, 6));
        // One batch, larger than the set.
        Assert.Empty(new BatchLoader(Data(), Small, 50, seed, workers).Epoch(0, 1));

        static (int Index, float[] Images, long[] Labels) Taken(Batch batch)
        {
            using (batch)
            {
                return (batch.Index, [.. batch.Images.data<float>()], [.. batch.Labels.data<long>()]);
            }
        }

        static bool SameBatch((int Index, float[] Images, long[] Labels) one, (int Index, float[] Images, long[] Labels) other) =>
            one.Index == other.Index && one.Images.SequenceEqual(other.Images) && one.Labels.SequenceEqual(other.Labels);
    }

    [Fact]
    public void Epoch_LeavesNoTensorsBehind()
    {
        var data = new Scripted(60, skipped: i => i == 4);
        LeakTests.FinalizeOthers();
        var before = torch.Tensor.TotalCount;
        foreach (var batch in new BatchLoader(data, Small, 5, null, 2).Epoch(0))
        {
            batch.Dispose();
            break;
        }

        Taken(new BatchLoader(data, Small, 5, null, 2), 0);
        Assert.Equal(before, torch.Tensor.TotalCount);
    }

    [Fact]
    public void Batches_OutliveAScopeAroundTheLoop()
    {
        Batch kept;
        using (torch.NewDisposeScope())
        {
            kept = new BatchLoader(new Scripted(6, skipped: i => i == 1), Small, 6, null).Epoch(0).Single();
        }

        using (kept)
        {
            Assert.Equal(5, kept.Images.shape[0]);
            Assert.Equal(5, kept.Count);
        }
    }

    private static List<(float[] Images, long[] Labels)> Taken(BatchLoader loader, int epoch)
    {
        var list = new List<(float[], long[])>();
        foreach (var batch in loader.Epoch(epoch))
        {
            using (batch)
            {
                list.Add(([.. batch.Images.data<float>()], [.. batch.Labels.data<long>()]));
            }
        }

        return list;
    }

    /// <summary>Random images of different sizes, some of them skipped or failing; image i has label 10 i of 10,000.</summary>
    private sealed class Scripted(int count, Func<int, bool>? skipped = null, Func<int, bool>? failing = null)
        : ImageDataset("scripted", [.. Enumerable.Range(0, count).Select(i => 10 * i)], 10_000, null)
    {
        private int reads;

        public int Reads => reads;

        public override ImageBytes? Read(int index)
        {
            Interlocked.Increment(ref reads);
            return failing?.Invoke(index) == true ? throw new ResNetNodesException($"image {index} is broken")
                : skipped?.Invoke(index) == true ? null
                : AugmentationTests.RandomImage(index % 2 == 0 ? 3 : 1, 10 + (index % 5), 10 + (index % 7), index);
        }

        public override ImageDataset Take(int count) => throw new NotSupportedException();
    }
}
