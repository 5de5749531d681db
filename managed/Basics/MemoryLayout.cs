using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>How images lie in memory. TorchSharp has no argument for it; strides say the same.</summary>
internal static class MemoryLayout
{
    /// <summary>
    /// The same images [B, C, H, W] with channels last in memory, as stages hold them: the faster layout, and the one in which the input
    /// gradients of LibTorch 2.10 are right for fewer channels than a register holds. In the other, on some processors with AVX-512,
    /// they are computed from memory that nothing has written.
    /// </summary>
    public static Tensor ChannelsLast(Tensor images)
    {
        using var moved = images.permute(0, 2, 3, 1);
        using var dense = moved.contiguous();
        return dense.permute(0, 3, 1, 2);
    }
}
