namespace ResNetNodes;

/// <summary>A stage whose steps are learned from pass to pass: a state of its training.</summary>
internal interface ILearningStage
{
    /// <summary>What it has learned, as numbers.</summary>
    IReadOnlyList<double> Learned { get; set; }
}
