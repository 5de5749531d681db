using TorchSharp;
using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>
/// Every stride-th row and column. In front of a 1×1 convolution it is the same as that convolution's own stride, whose weight
/// gradient writes past its memory in LibTorch 2.10 (oneDNN, AVX-512, channels last) where the channels don't fill a register.
/// </summary>
internal sealed class Subsample(int stride) : nn.Module<Tensor, Tensor>(nameof(Subsample))
{
    /// <summary>Of rows and of columns.</summary>
    public int Stride => stride;

    public override Tensor forward(Tensor input)
    {
        using var rows = input.slice(2, 0, input.shape[2], stride);
        return rows.slice(3, 0, input.shape[3], stride);
    }
}
