using System.Globalization;

namespace ResNetNodes;

/// <summary>How a residual stage is integrated and differentiated. The defaults are what most users want.</summary>
public sealed record StageOptions
{
    /// <summary>The solver of the forward pass.</summary>
    public Solver Solver { get; init; } = Solver.Euler;

    /// <summary>How the states are reconstructed in the backward pass.</summary>
    public Reconstruction Reconstruction { get; init; } = Reconstruction.Adaptive();

    /// <summary>
    /// The last steps whose tapes the forward pass stores, whatever <see cref="Reconstruction"/> is: exact, no evaluation in the backward
    /// pass, memory of so many tapes. From 0 to the number of steps; <see cref="Reconstruction.Backprop"/> stores all.
    /// </summary>
    public int StoredSteps { get; init; }

    /// <summary>
    /// States that <see cref="Reconstruction.Adaptive"/> keeps or replays at a time, that at which a gradient is taken among them; at least
    /// 2. With fewer, steps that can't be found are replayed more often. Null: 2√N, at most 7.
    /// </summary>
    public int? MostStates { get; init; }

    /// <summary>The step size h; null stands for 1/N.</summary>
    public double? StepSize { get; init; }

    /// <summary>How the residual functions are evaluated.</summary>
    public StageExecution Execution { get; init; } = StageExecution.Auto;

    /// <summary>
    /// The number type in which residual functions are evaluated. <see cref="ComputeType.BFloat16"/> needs float32 states and
    /// parameters, and native layers: a module that is called chooses its own type.
    /// </summary>
    public ComputeType ComputeType { get; init; } = ComputeType.SameAsState;

    /// <summary>
    /// Record forward and backward passes as CUDA graphs, and launch those when input shape and parameter addresses repeat: less time in
    /// stages of small kernels, for memory that stays allocated (docs/cuda.md). CUDA tensors and native layers only.
    /// </summary>
    public bool CudaGraphs { get; init; }

    /// <summary>Keep x_0 (one tensor a stage) and report ‖x̃_0 − x_0‖/‖x_0‖ after each backward pass.</summary>
    public bool ReportReconstructionError { get; init; }

    /// <summary>
    /// Add parameter gradients directly to the parameters' <c>.grad</c> in a plain <c>loss.backward()</c>, bypassing autograd: no second
    /// copy of all gradients, and less work per layer. <c>torch.autograd.grad</c> and backward passes that name their inputs get gradients
    /// as usual. Native layers only: modules that are called always add their gradients so.
    /// </summary>
    public bool AccumulateGradientsInPlace { get; init; }

    /// <summary>
    /// Bytes of the tape that the product of one function works with, and of what it makes of it; null: 8 MiB, or a quarter of the whole
    /// batch's tape if that is more, and no bound on an accelerator. Where the whole batch's is larger, the product goes over some
    /// images after the other, which evaluates some layers once more. Kept as far as what crosses images lets it be. Native layers
    /// by operators only (docs/reconstructions.md).
    /// </summary>
    public long? TapeBytes { get; init; }

    /// <summary>Checks what the native library does not always see.</summary>
    /// <exception cref="ArgumentException">An invalid value.</exception>
    internal void Validate()
    {
        if (Solver is null)
        {
            throw new ArgumentException("Solver is null, expected one such as Solver.Euler");
        }

        if (!Enum.IsDefined(Execution))
        {
            throw new ArgumentException(
                $"Execution is {(int)Execution}, expected one of {string.Join(", ", Enum.GetNames<StageExecution>())}");
        }

        if (!Enum.IsDefined(ComputeType))
        {
            throw new ArgumentException(
                $"ComputeType is {(int)ComputeType}, expected one of {string.Join(", ", Enum.GetNames<ComputeType>())}");
        }

        if (Reconstruction is null)
        {
            throw new ArgumentException("Reconstruction is null, expected a method such as Reconstruction.Adaptive()");
        }

        if (StoredSteps < 0)
        {
            throw new ArgumentException($"StoredSteps is {StoredSteps}, expected 0 to the number of steps");
        }

        if (MostStates is < 2)
        {
            throw new ArgumentException($"MostStates is {MostStates}, expected 2 or more, or null for the default");
        }

        if (TapeBytes is < 1)
        {
            throw new ArgumentException($"TapeBytes is {TapeBytes}, expected a positive number of bytes or null for the default");
        }

        if (StepSize is { } h && !(h > 0 && double.IsFinite(h)))
        {
            throw new ArgumentException(
                $"StepSize is {h.ToString(CultureInfo.InvariantCulture)}, expected a positive number or null for 1/N");
        }
    }

    internal Interop.StageOptions ToNative()
    {
        var native = new Interop.StageOptions
        {
            Solver = Solver.Name,
            Reconstruction = Reconstruction.Kind,
            Count = Reconstruction.Count,
            StoredSteps = StoredSteps,
            MostStates = MostStates ?? 0,
            StepSize = StepSize ?? 0,
            KeepInput = ReportReconstructionError,
            ComputeType = (Interop.ComputeType)(int)ComputeType,
            CudaGraphs = CudaGraphs,
            TapeBytes = TapeBytes ?? 0,
        };
        if (Reconstruction.Tolerance is { } tolerance)
        {
            native.Tolerance = tolerance;
        }

        return native;
    }
}
