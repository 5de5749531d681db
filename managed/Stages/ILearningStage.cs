using static TorchSharp.torch;

namespace ResNetNodes;

/// <summary>A stage whose steps are learned from pass to pass: a state of its training.</summary>
internal interface ILearningStage
{
    /// <summary>What it has learned, as numbers.</summary>
    IReadOnlyList<double> Learned { get; set; }

    /// <summary>N.</summary>
    int Depth { get; }

    /// <summary>How it was asked to be integrated and differentiated: a plan may choose another reconstruction from step to step.</summary>
    StageOptions Given { get; }

    /// <summary>How its functions are evaluated.</summary>
    StageExecution Execution { get; }

    /// <summary>The stages of a network, by name; the network itself has none.</summary>
    static IEnumerable<(string Name, ILearningStage Stage)> Of(nn.Module model) =>
        model.named_modules().Prepend((name: string.Empty, module: model)).Where(m => m.module is ILearningStage)
            .Select(m => (m.name, (ILearningStage)m.module));
}
