namespace ResNetNodes.Data;

/// <summary>Which images of each batch are one rank's: those that stand together, as many as others' or one more or less.</summary>
/// <param name="Rank">From 0.</param>
/// <param name="Ranks">How many share a batch.</param>
/// <param name="IsNeeded">Whether a share must have an image that can be decoded: the other ranks would wait for its gradient.</param>
internal readonly record struct BatchShare(int Rank, int Ranks, bool IsNeeded)
{
    /// <summary>All images.</summary>
    public static BatchShare All => new(0, 1, false);

    /// <summary>The share of a batch.</summary>
    /// <param name="batch">Its images.</param>
    public ArraySegment<int> Of(ArraySegment<int> batch)
    {
        var (first, end) = ((long)batch.Count * Rank / Ranks, (long)batch.Count * (Rank + 1) / Ranks);
        return batch[(int)first..(int)end];
    }
}
