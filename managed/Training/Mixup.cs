using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// Mixes the images of a training batch in pairs (Zhang et al., arXiv 1710.09412): image i becomes λ·x_i + (1 − λ)·x_p(i), and its
/// loss λ times that of its own label and 1 − λ times that of the other, with one λ and one order p for each batch.
/// </summary>
/// <remarks>A prediction is correct where it is the label of the larger share. Memory: two more batches of images during the mixing,
/// one during the step.</remarks>
/// <param name="Alpha">λ is drawn from Beta(Alpha, Alpha): above 0, at most 100. 0.2 is usual.</param>
/// <param name="Seed">All draws depend on it and on the number of the batch in the run.</param>
public sealed record Mixup(double Alpha, long Seed)
{
    /// <summary>The largest Alpha: λ is then within 0.4 and 0.6 nearly always.</summary>
    internal const double MostAlpha = 100;

    internal void Validate()
    {
        if (Alpha is not (> 0 and <= MostAlpha))
        {
            throw new ArgumentOutOfRangeException(nameof(Mixup), Alpha, $"expected an Alpha above 0 and up to {MostAlpha}");
        }
    }

    /// <summary>Share and order of a batch.</summary>
    /// <param name="batch">Its number in the run, from 0.</param>
    /// <param name="count">Its images.</param>
    internal (double Share, long[] Order) Draw(long batch, int count)
    {
        var random = new RandomNumbers(Seed).Part(batch).Stream();
        var (one, other) = (Gamma(random, Alpha), Gamma(random, Alpha));
        var order = Enumerable.Range(0, count).Select(i => (long)i).ToArray();
        random.Shuffle(order);
        // Of a small Alpha both may round to 0: the limit of the distribution is then either image.
        return (one + other > 0 ? one / (one + other) : random.Next(2), order);
    }

    /// <summary>Mixes a batch.</summary>
    /// <param name="images">[B, C, H, W]; stays as it is.</param>
    /// <param name="labels">[B].</param>
    /// <param name="batch">Its number in the run, from 0.</param>
    internal MixedBatch Mix(Tensor images, Tensor labels, long batch)
    {
        var (share, order) = Draw(batch, (int)labels.shape[0]);
        using var scope = NewDisposeScope();
        using TorchSharp.Scalar own = share, theirs = 1 - share;
        var others = tensor(order, ScalarType.Int64, labels.device);
        return new(
            images.mul(own).add_(images.index_select(0, others), theirs).MoveToOuterDisposeScope(),
            labels, labels.index_select(0, others).MoveToOuterDisposeScope(), share);
    }

    // Marsaglia and Tsang's method; below 1 from one above (their note 8).
    private static double Gamma(Random random, double shape)
    {
        if (shape < 1)
        {
            return Gamma(random, shape + 1) * Math.Pow(1 - random.NextDouble(), 1 / shape);
        }

        var d = shape - (1.0 / 3);
        while (true)
        {
            var normal = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
            var v = Math.Pow(1 + (normal / Math.Sqrt(9 * d)), 3);
            if (v > 0 && Math.Log(1 - random.NextDouble()) < (normal * normal / 2) + d - (d * v) + (d * Math.Log(v)))
            {
                return d * v;
            }
        }
    }
}

/// <summary>A batch of pairs.</summary>
/// <param name="Images">[B, C, H, W].</param>
/// <param name="Labels">Of the images that have the share.</param>
/// <param name="Others">Of the others.</param>
/// <param name="Share">From 0 to 1.</param>
internal sealed record MixedBatch(Tensor Images, Tensor Labels, Tensor Others, double Share)
{
    /// <summary>The label that a prediction should be.</summary>
    public Tensor Larger => Share >= 0.5 ? Labels : Others;

    /// <summary>The mean loss.</summary>
    public Tensor Loss(LossFunction loss, Tensor scores)
    {
        using TorchSharp.Scalar own = Share, theirs = 1 - Share, one = 1;
        return loss.Of(scores, Labels).mul(own).add(loss.Of(scores, Others).mul(theirs), one);
    }
}
