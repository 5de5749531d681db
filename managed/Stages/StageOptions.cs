using System.Globalization;

namespace ResNetNodes;

/// <summary>How a residual stage is integrated and differentiated. The defaults are what most users want.</summary>
public sealed record StageOptions
{
    /// <summary>The solver of the forward pass.</summary>
    public Solver Solver { get; init; } = Solver.Euler;

    /// <summary>How the states are found again in the backward pass.</summary>
    public Reconstruction Reconstruction { get; init; } = Reconstruction.Adaptive();

    /// <summary>The step size h; null stands for 1/N.</summary>
    public double? StepSize { get; init; }

    /// <summary>How the residual functions are evaluated. Fixed when the stage is built.</summary>
    public StageExecution Execution { get; init; } = StageExecution.Auto;

    /// <summary>Keep x_0 (one tensor a stage) and report ‖x̃_0 − x_0‖/‖x_0‖ after each backward pass.</summary>
    public bool ReportReconstructionError { get; init; }

    /// <summary>After a backward pass that could not reconstruct a step, go on with stored states (checkpoint).</summary>
    public bool CheckpointOnFailure { get; init; }

    /// <summary>
    /// Add parameter gradients straight to existing <c>.grad</c> tensors in the backward pass, in place of returning them to
    /// autograd: no second copy of all gradients. Only for <c>loss.backward()</c>; <c>torch.autograd.grad</c> with respect to
    /// a parameter that has a <c>.grad</c> does not see its gradient then. Native layers only.
    /// </summary>
    public bool AccumulateGradientsInPlace { get; init; }

    internal Interop.StageOptions ToNative()
    {
        if (StepSize is { } h && !(h > 0 && double.IsFinite(h)))
        {
            throw new ArgumentException($"StepSize is {h.ToString(CultureInfo.InvariantCulture)}, expected a positive number or null for 1/N");
        }

        var native = new Interop.StageOptions
        {
            Solver = (Interop.Solver)(int)Solver,
            Reconstruction = Reconstruction.Kind,
            Count = Reconstruction.Count,
            StepSize = StepSize ?? 0,
            KeepInput = ReportReconstructionError,
        };
        if (Reconstruction.Tolerance is { } tolerance)
        {
            native.Tolerance = tolerance;
        }

        return native;
    }
}
