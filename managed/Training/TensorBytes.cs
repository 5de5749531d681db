using static TorchSharp.torch;

namespace ResNetNodes.Training;

/// <summary>
/// A tensor's values as bytes, row-major, part by part: a tensor may be larger than the 2 GiB that a span can be, and on another device.
/// </summary>
internal static class TensorBytes
{
    private const long Part = 1 << 24;

    /// <summary>Takes some of the bytes.</summary>
    public delegate void Take(ReadOnlySpan<byte> bytes);

    /// <summary>Gives the next bytes.</summary>
    public delegate void Give(Span<byte> bytes);

    /// <summary>How many bytes a tensor takes; -1 where there is none of this type and shape.</summary>
    public static long Count(ScalarType type, IReadOnlyList<long> shape)
    {
        if (shape.Any(size => size < 0))
        {
            return -1;
        }

        try
        {
            return shape.Contains(0) ? Math.Min(Width(type), 0) : shape.Aggregate(Width(type), (product, size) => checked(product * size));
        }
        catch (OverflowException)
        {
            return -1;
        }
    }

    /// <summary>Reads a tensor; one that does not lie row-major in the CPU's memory is copied for it.</summary>
    /// <param name="tensor">Any shape, type and device.</param>
    /// <param name="take">Called with one part after the other.</param>
    /// <param name="part">The length of a part in bytes.</param>
    public static void Read(Tensor tensor, Take take, long part = Part)
    {
        using var guard = no_grad();
        using var detached = tensor.detach();
        using var near = detached.cpu();
        using var dense = near.contiguous();
        foreach (var values in Parts(dense, part))
        {
            take(values.bytes);
        }
    }

    /// <summary>Overwrites a tensor in place.</summary>
    /// <param name="tensor">Any shape, type and device.</param>
    /// <param name="give">Called to fill one part after the other.</param>
    /// <param name="part">The length of a part in bytes.</param>
    public static void Write(Tensor tensor, Give give, long part = Part)
    {
        using var guard = no_grad();
        using var detached = tensor.detach();
        var inPlace = detached.is_contiguous();
        using var dense = inPlace ? detached.alias() : empty(detached.shape, detached.dtype);
        foreach (var values in Parts(dense, part))
        {
            using var read = empty(values.shape, values.dtype);
            give(read.bytes);
            values.copy_(read);
        }

        if (!inPlace)
        {
            detached.copy_(dense);
        }
    }

    private static long Width(ScalarType type) => type switch
    {
        ScalarType.Byte or ScalarType.Int8 or ScalarType.Bool => 1,
        ScalarType.Int16 or ScalarType.Float16 or ScalarType.BFloat16 => 2,
        ScalarType.Int32 or ScalarType.Float32 => 4,
        ScalarType.Int64 or ScalarType.Float64 or ScalarType.ComplexFloat32 => 8,
        ScalarType.ComplexFloat64 => 16,
        _ => -1,
    };

    private static IEnumerable<Tensor> Parts(Tensor dense, long length)
    {
        using var flat = dense.view(-1);
        var most = Math.Max(1, length / dense.ElementSize);
        for (var first = 0L; first < flat.shape[0]; first += most)
        {
            using var part = flat.narrow(0, first, Math.Min(most, flat.shape[0] - first));
            yield return part;
        }
    }
}
