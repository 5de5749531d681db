namespace ResNetNodes;

/// <summary>How a <see cref="Recomputed"/> is evaluated and differentiated. The defaults are what most users want.</summary>
public sealed record RecomputedOptions
{
    /// <summary>How the module is evaluated.</summary>
    public StageExecution Execution { get; init; } = StageExecution.Auto;

    /// <summary>
    /// The number type in which the module is evaluated. <see cref="ComputeType.BFloat16"/> needs a float32 input and parameters,
    /// and native layers: a module that is called chooses its own type.
    /// </summary>
    public ComputeType ComputeType { get; init; } = ComputeType.SameAsState;

    /// <summary>
    /// Add parameter gradients directly to the parameters' <c>.grad</c> in a plain <c>loss.backward()</c>, bypassing autograd, as
    /// <see cref="StageOptions.AccumulateGradientsInPlace"/> does. Native layers only: modules that are called always add their
    /// gradients so.
    /// </summary>
    public bool AccumulateGradientsInPlace { get; init; }

    /// <summary>
    /// Store what the gradient needs instead of evaluating again: memory and evaluations of plain autograd, 3 where 4 are needed otherwise.
    /// For a part of a network that is dear to evaluate and cheap to store.
    /// </summary>
    public bool Stored { get; init; }

    /// <summary>Bytes of the tape that its product works with, as <see cref="StageOptions.TapeBytes"/> has it.</summary>
    public long? TapeBytes { get; init; }

    /// <summary>Those that a stage of one function was given.</summary>
    internal static RecomputedOptions Of(StageOptions options) => new()
    {
        Execution = options.Execution,
        ComputeType = options.ComputeType,
        AccumulateGradientsInPlace = options.AccumulateGradientsInPlace,
        TapeBytes = options.TapeBytes,
        Stored = options.Reconstruction == Reconstruction.Backprop,
    };

    /// <summary>Those of a part of a network beside a stage with such options: in the same type, and nothing stored.</summary>
    internal static RecomputedOptions Beside(StageOptions stage) => Of(stage) with { Stored = false };

    /// <summary>The same for a stage of one function.</summary>
    internal StageOptions ToStage() => new()
    {
        Execution = Execution,
        ComputeType = ComputeType,
        AccumulateGradientsInPlace = AccumulateGradientsInPlace,
        TapeBytes = TapeBytes,
        Reconstruction = Stored ? Reconstruction.Backprop : Reconstruction.Checkpoint(),
    };
}
