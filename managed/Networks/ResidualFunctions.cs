using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace ResNetNodes.Networks;

/// <summary>The residual functions and first blocks of ImageNet-style networks (paper, section 5 and its appendix).</summary>
internal static class ResidualFunctions
{
    /// <summary>A function of a stage, by the network's kind.</summary>
    /// <param name="options">The network's options.</param>
    /// <param name="channels">Of the state.</param>
    /// <param name="planes">Channels of the inner convolutions.</param>
    public static nn.Module<Tensor, Tensor> Of(ResNetOptions options, int channels, int planes)
    {
        var reluFirst = options.Kind is ResNetKind.Ode or ResNetKind.Tied;
        var branch = Branch(channels, planes, options.Size.Bottleneck, 1, reluFirst, options.ZeroInitResidual);
        return options.Kind == ResNetKind.Torchvision ? new RectifiedBranch(branch) : branch;
    }

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

    /// <summary>The first block of a stage: the branch, and a shortcut of a 1×1 convolution where the shape changes.</summary>
    public static ResidualBlock FirstBlock(int input, int planes, bool bottleneck, int stride, bool zeroInit)
    {
        var output = bottleneck ? 4 * planes : planes;
        var branch = Branch(input, planes, bottleneck, stride, reluFirst: false, zeroInit);
        return new ResidualBlock(branch, stride == 1 && input == output
            ? null
            : nn.Sequential(
                ("subsample", new Subsample(stride)),
                ("conv", Convolution(input, output, 1, 1)),
                ("norm", nn.BatchNorm2d(output))));
    }
}
