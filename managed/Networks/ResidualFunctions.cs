using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Networks;

/// <summary>The residual functions and first blocks of ImageNet-style networks (paper, section 5 and its appendix).</summary>
internal static class ResidualFunctions
{
    /// <summary>Convolutions and normalizations from <paramref name="input"/> channels to planes × expansion.</summary>
    /// <param name="input">Channels that come in.</param>
    /// <param name="planes">Channels of the inner convolutions.</param>
    /// <param name="bottleneck">1×1 – 3×3 – 1×1, or 3×3 – 3×3.</param>
    /// <param name="stride">Of the first 3×3 convolution.</param>
    /// <param name="reluFirst">A ReLU before the first convolution as before the others.</param>
    /// <param name="zeroInit">The last normalization starts with weight 0.</param>
    public static Sequential Branch(int input, int planes, bool bottleneck, int stride, bool reluFirst, bool zeroInit)
    {
        (int Channels, int Kernel, int Stride)[] convolutions = bottleneck
            ? [(planes, 1, 1), (planes, 3, stride), (4 * planes, 1, 1)]
            : [(planes, 3, stride), (planes, 3, 1)];
        var layers = new List<(string, nn.Module<Tensor, Tensor>)>();
        for (var i = 0; i < convolutions.Length; i++)
        {
            var (channels, kernel, step) = convolutions[i];
            if (i > 0 || reluFirst)
            {
                layers.Add(($"relu{i + 1}", nn.ReLU()));
            }

            layers.Add(($"conv{i + 1}", Convolution(input, channels, kernel, step)));
            var norm = nn.BatchNorm2d(channels);
            if (zeroInit && i == convolutions.Length - 1)
            {
                nn.init.zeros_(norm.weight);
            }

            layers.Add(($"norm{i + 1}", norm));
            input = channels;
        }

        return nn.Sequential(layers);
    }

    /// <summary>A convolution without bias, padded to keep the size, of Kaiming's normal weights (fan-out, ReLU).</summary>
    public static Conv2d Convolution(int input, int output, int kernel, int stride)
    {
        var convolution = nn.Conv2d(input, output, kernel, stride: stride, padding: kernel / 2, bias: false);
        nn.init.kaiming_normal_(convolution.weight, mode: nn.init.FanInOut.FanOut, nonlinearity: nn.init.NonlinearityType.ReLU);
        return convolution;
    }
}

/// <summary>An ordinary residual block, ReLU(branch(x) + shortcut(x)), that may change the shape of its input.</summary>
internal sealed class ResidualBlock : nn.Module<Tensor, Tensor>
{
    private readonly Sequential branch;
    private readonly Sequential? shortcut;

    public ResidualBlock(int input, int planes, bool bottleneck, int stride, bool zeroInit)
        : base(nameof(ResidualBlock))
    {
        var output = bottleneck ? 4 * planes : planes;
        branch = ResidualFunctions.Branch(input, planes, bottleneck, stride, reluFirst: false, zeroInit);
        shortcut = stride == 1 && input == output
            ? null
            : nn.Sequential(("subsample", new Subsample(stride)), ("conv", ResidualFunctions.Convolution(input, output, 1, 1)), ("norm", nn.BatchNorm2d(output)));
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        using var scope = NewDisposeScope();
        return (branch.call(input) + (shortcut?.call(input) ?? input)).relu_().MoveToOuterDisposeScope();
    }
}

/// <summary>
/// Every stride-th row and column. In front of a 1×1 convolution it is the same as that convolution's own stride, whose weight
/// gradient writes past its memory in LibTorch 2.10 (oneDNN, AVX-512, channels last) where the channels don't fill a register.
/// </summary>
internal sealed class Subsample(int stride) : nn.Module<Tensor, Tensor>(nameof(Subsample))
{
    public override Tensor forward(Tensor input)
    {
        using var rows = input.slice(2, 0, input.shape[2], stride);
        return rows.slice(3, 0, input.shape[3], stride);
    }
}
