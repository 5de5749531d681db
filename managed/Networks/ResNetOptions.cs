using ResNetNodes.Planning;

namespace ResNetNodes.Networks;

/// <summary>The three kinds of ImageNet-style networks of the paper, and the usual one.</summary>
public enum ResNetKind
{
    /// <summary>
    /// The ordinary one: convolution first in each function. Blocks after the first of a stage have their branch multiplied by
    /// 1/(blocks − 1) and no ReLU after the addition.
    /// </summary>
    Ordinary,

    /// <summary>Each stage is one ordinary block, then a residual stage of ReLU-first functions; a ReLU between stages.</summary>
    Ode,

    /// <summary>The same, but all steps of a stage share one function.</summary>
    Tied,

    /// <summary>
    /// The network of He et al. as torchvision builds it, which takes its weights (docs/weights.md): a ReLU after every addition, branches
    /// as they are (h = 1), the stride in the 3×3 convolution. ReLU can't be undone: its stages keep or replay their states.
    /// </summary>
    Torchvision,
}

/// <summary>The options of a <see cref="ResNet"/>.</summary>
public sealed record ResNetOptions
{
    /// <summary>Its kind.</summary>
    public ResNetKind Kind { get; init; } = ResNetKind.Ode;

    /// <summary>Blocks of its stages.</summary>
    public NetworkSize Size { get; init; } = NetworkSize.Parse("18");

    /// <summary>Planes of the first stage; the next ones have 2, 4 and 8 times as many.</summary>
    public int Planes { get; init; } = 64;

    /// <summary>Classes.</summary>
    public int Classes { get; init; } = 10;

    /// <summary>Channels of the images.</summary>
    public int InputChannels { get; init; } = 3;

    /// <summary>
    /// Stem for ImageNet (convolution 7×7 stride 2, max pooling 3 stride 2) or for small images (convolution 3×3); null takes the
    /// first for 1000 classes, and for <see cref="ResNetKind.Torchvision"/>.
    /// </summary>
    public bool? ImageNetStem { get; init; }

    /// <summary>Start the last batch normalization of each block and function with weight 0.</summary>
    public bool ZeroInitResidual { get; init; }

    /// <summary>Stages with fewer functions than this are differentiated with stored states (backprop). The paper's code has 11.</summary>
    public int AdjointFrom { get; init; } = 1;

    /// <summary>
    /// Whether stem, first blocks and head keep their inputs alone and are evaluated again in the backward pass
    /// (<see cref="Recomputed"/>). Null: where no stage was built to store its tapes (<see cref="Reconstruction.Backprop"/>). With a
    /// <see cref="MemoryBudget"/> they may be either, and this has to be left out.
    /// </summary>
    public bool? Recompute { get; init; }

    /// <summary>
    /// Bytes that a training step may take beyond rest (parameters, their gradients, the optimizer's state): each part then goes through
    /// it by the fastest method that fits (<see cref="MemoryPlanner"/>), and the stages' reconstruction is one of those. Null: as
    /// <see cref="Stage"/> says.
    /// </summary>
    public long? MemoryBudget { get; init; }

    /// <summary>
    /// How the residual stages are integrated and differentiated. <see cref="ResNetKind.Torchvision"/> takes Euler's solver alone, with the
    /// step size 1.
    /// </summary>
    public StageOptions Stage { get; init; } = new();

    /// <summary>Seed of the initial weights. LibTorch's global generator is not moved then; null draws the weights from it.</summary>
    public long? Seed { get; init; }

    /// <summary>Whether the stem is that for ImageNet.</summary>
    internal bool HasImageNetStem => ImageNetStem ?? (Classes == 1000 || Kind == ResNetKind.Torchvision);
}
