using System.Buffers;

namespace ResNetNodes.Data;

/// <summary>Bilinear scaling with antialiasing, one axis after the other.</summary>
internal static class AntialiasedResize
{
    /// <summary>
    /// Scales an image, or a part of it, and keeps a window of the result. Values stay from 0 to 255; each channel is a plane of
    /// rows.Count × columns.Count of the target.
    /// </summary>
    public static void Scale(ImageBytes image, Axis rows, Axis columns, Span<float> target)
    {
        var values = image.Values.Span;
        var height = rows.To - rows.From;
        var rented = ArrayPool<float>.Shared.Rent(height * columns.Count);
        var wide = rented.AsSpan(0, height * columns.Count);
        for (var channel = 0; channel < image.Channels; channel++)
        {
            var plane = values.Slice(channel * image.Height * image.Width, image.Height * image.Width);
            for (var row = 0; row < height; row++)
            {
                Across(plane.Slice((row + rows.From) * image.Width, image.Width), columns, wide.Slice(row * columns.Count, columns.Count));
            }

            Down(wide, rows, columns.Count, target.Slice(channel * rows.Count * columns.Count, rows.Count * columns.Count));
        }

        ArrayPool<float>.Shared.Return(rented);
    }

    private static void Across(ReadOnlySpan<byte> source, Axis columns, Span<float> target)
    {
        for (var i = 0; i < target.Length; i++)
        {
            var weights = columns.Weights(i);
            var pixels = source.Slice(columns.First(i), weights.Length);
            var sum = 0f;
            for (var k = 0; k < weights.Length; k++)
            {
                sum += weights[k] * pixels[k];
            }

            target[i] = sum;
        }
    }

    private static void Down(ReadOnlySpan<float> source, Axis rows, int width, Span<float> target)
    {
        target.Clear();
        for (var i = 0; i < rows.Count; i++)
        {
            var line = target.Slice(i * width, width);
            var weights = rows.Weights(i);
            for (var k = 0; k < weights.Length; k++)
            {
                var weight = weights[k];
                var from = source.Slice((rows.First(i) + k - rows.From) * width, width);
                for (var column = 0; column < line.Length; column++)
                {
                    line[column] += weight * from[column];
                }
            }
        }
    }

    /// <summary>
    /// The weights of one axis: the source's pixels start ... start + length - 1 become result pixels, of which from ... from +
    /// count - 1 are kept. A kept pixel's weights are a triangle around its centre, cut off at the part's ends, of sum 1.
    /// </summary>
    internal sealed class Axis
    {
        private readonly int[] first;
        private readonly int[] offsets;
        private readonly float[] weights;

        public Axis(int start, int length, int result, int from, int count)
        {
            var scale = (double)length / result;
            // Enlarging interpolates between neighbours; shrinking averages over all that a result pixel covers.
            var reach = Math.Max(scale, 1);
            (first, offsets) = (new int[count], new int[count + 1]);
            var all = new List<float>(count * ((2 * (int)Math.Ceiling(reach)) + 1));
            for (var i = 0; i < count; i++)
            {
                var centre = (from + i + 0.5) * scale;
                var low = Math.Max(0, (int)Math.Floor(centre - reach));
                var high = Math.Min(length, (int)Math.Ceiling(centre + reach));
                double Weight(int pixel) => Math.Max(0, 1 - (Math.Abs(pixel + 0.5 - centre) / reach));
                // The outermost may just miss the triangle.
                while (Weight(low) == 0)
                {
                    low++;
                }

                while (Weight(high - 1) == 0)
                {
                    high--;
                }

                var sum = 0.0;
                for (var pixel = low; pixel < high; pixel++)
                {
                    sum += Weight(pixel);
                }

                for (var pixel = low; pixel < high; pixel++)
                {
                    all.Add((float)(Weight(pixel) / sum));
                }

                (first[i], offsets[i + 1]) = (start + low, all.Count);
            }

            weights = [.. all];
            (From, To) = (first[0], first[^1] + offsets[^1] - offsets[^2]);
        }

        /// <summary>Result pixels kept.</summary>
        public int Count => first.Length;

        /// <summary>The first source pixel that has a weight.</summary>
        public int From { get; }

        /// <summary>One after the last source pixel that has a weight.</summary>
        public int To { get; }

        public int First(int i) => first[i];

        public ReadOnlySpan<float> Weights(int i) => weights.AsSpan(offsets[i], offsets[i + 1] - offsets[i]);
    }
}
