using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes.Experiments.Bench;

/// <summary>The machine's float32 arithmetic: the fastest of several large matrix products.</summary>
/// <param name="Gflops">Multiplications and additions, 1e9 a second.</param>
/// <param name="Product">Which product it was: rows × inner × columns, and by which operator.</param>
internal sealed record BenchPeak(double Gflops, string Product)
{
    private const double SecondsEach = 0.2;
    private const int LeastRepeats = 3;
    private const int Images = 16;

    /// <summary>Multiplications and additions a second.</summary>
    public double OperationsPerSecond => Gflops * 1e9;

    /// <summary>
    /// Tries operators and sizes. A matrix product and a 1×1 convolution do the same arithmetic, but the one is the linear algebra
    /// library's and the other the deep learning library's, and which of them uses all of a processor's registers differs.
    /// </summary>
    public static BenchPeak Measure(CancellationToken cancellation)
    {
        using var guard = no_grad();
        var best = new BenchPeak(0, string.Empty);
        (int, int, int)[] sizes = [(512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 1024), (16384, 256, 256)];
        foreach (var (rows, inner, columns) in sizes)
        {
            using var a = randn(rows, inner);
            using var b = randn(inner, columns);
            using var target = empty(rows, columns);
            Try("addmm_", () => target.addmm_(a, b, 0, 1));

            // The same numbers as images of one row in channels_last, and as a kernel of one tap.
            using var pixels = a.view(Images, 1, rows / Images, inner);
            using var images = pixels.permute(0, 3, 1, 2);
            using var kernel = randn(columns, inner, 1, 1);
            Try("1×1 convolution", () => nn.functional.conv2d(images, kernel).Dispose());

            void Try(string name, Action product)
            {
                cancellation.ThrowIfCancellationRequested();
                product();
                var fastest = double.MaxValue;
                var all = Stopwatch.StartNew();
                for (var i = 0; i < LeastRepeats || all.Elapsed.TotalSeconds < SecondsEach; i++)
                {
                    var start = Stopwatch.GetTimestamp();
                    product();
                    fastest = Math.Min(fastest, Stopwatch.GetElapsedTime(start).TotalSeconds);
                }

                var gflops = 2.0 * rows * inner * columns / fastest / 1e9;
                best = gflops > best.Gflops ? new(gflops, $"{rows} × {inner} × {columns} by {name}") : best;
            }
        }

        return best;
    }
}
