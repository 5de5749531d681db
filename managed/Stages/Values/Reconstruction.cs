using System.Globalization;
using ResNetNodes.Interop;

namespace ResNetNodes;

/// <summary>
/// How the states of a stage are found again in the backward pass: a value that prints and parses itself, as users write it
/// (<c>adaptive:0.1</c>, <c>corrected:2</c>). Orders, costs and derivations: docs/reconstructions.md.
/// </summary>
public sealed record Reconstruction
{
    private static readonly Lazy<IReadOnlyList<PlanRow>> Plans = new(ReadPlans);

    private Reconstruction(ReconstructionKind kind, long count = 0, double? tolerance = null)
    {
        Kind = kind;
        Count = count;
        Tolerance = tolerance;
    }

    /// <summary>Store the tape of every step: exact, memory grows with depth; 3 evaluations a layer and training step.</summary>
    public static Reconstruction Backprop { get; } = new(ReconstructionKind.Backprop);

    /// <summary>
    /// The paper's method (arXiv 2205.14612, section 4): x̃ₙ = xₙ₊₁ − h fₙ(xₙ₊₁), and for Heun its reverse step. Gradient error
    /// O(1/N), for Heun O(1/N²) or better; 5 evaluations.
    /// </summary>
    public static Reconstruction Inverse { get; } = new(ReconstructionKind.Inverse);

    /// <summary>The names that can be parsed.</summary>
    public static IReadOnlyList<string> Names => [.. Plans.Value.Select(plan => plan.Name)];

    /// <summary>The method's name, without its argument.</summary>
    public string Name => Plan.Name;

    /// <summary>Order in h of the gradient's error on smooth weights with Euler's solver; 0 for the exact methods.</summary>
    public long Order => Kind switch
    {
        ReconstructionKind.Corrected or ReconstructionKind.Extrapolated when Count > 0 => Count + 1,
        _ => Plan.Order,
    };

    /// <summary>Whether memory stays flat in depth.</summary>
    public bool IsMemoryFree => Plan.MemoryFree;

    internal ReconstructionKind Kind { get; }

    internal long Count { get; }

    internal double? Tolerance { get; }

    private PlanRow Plan => Plans.Value.Single(plan => plan.Kind == Kind);

    /// <summary>Fixed point and correction.</summary>
    /// <param name="iterations">Fixed-point iterations k for x̃ₙ, at least 1.</param>
    /// <remarks>
    /// x̃ₙ ← xₙ₊₁ − Φₙ(x̃ₙ), k times from xₙ₊₁; gradient at x̃ₙ; xₙ ← xₙ₊₁ − Φₙ(x̃ₙ), a value the gradient needs anyway. Gradient
    /// error O(1/N^(k+1)), also for weights that are not smooth in depth. Cost: 4 + k evaluations a layer (backprop 3,
    /// checkpoint 4). Wrong where h·Lip(fₙ) is not small.
    /// </remarks>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="iterations"/> is below 1.</exception>
    public static Reconstruction Corrected(int iterations = 1)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(iterations, 1);
        return new(ReconstructionKind.Corrected, iterations);
    }

    /// <summary>The increment foreseen from the last ones, and correction: 4 evaluations; only where weights are smooth in depth.</summary>
    /// <param name="order">2 or 3: how many increments the prediction uses. Gradient error O(1/N^(order+1)) on smooth weights.</param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="order"/> is neither 2 nor 3.</exception>
    public static Reconstruction Extrapolated(int order = 2)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(order, 2);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(order, 3);
        return new(ReconstructionKind.Extrapolated, order);
    }

    /// <summary>Iterates each step until its residual is below a tolerance, and reports the steps where it can't. The default.</summary>
    /// <param name="tolerance">Residual of a reconstructed state, relative to its increment; positive. Null: 0.1.</param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="tolerance"/> is not a positive finite number.</exception>
    public static Reconstruction Adaptive(double? tolerance = null)
    {
        if (tolerance is { } given && !(given > 0 && double.IsFinite(given)))
        {
            throw new ArgumentOutOfRangeException(nameof(tolerance), tolerance, "expected a positive number");
        }

        return new(ReconstructionKind.Adaptive, 0, tolerance);
    }

    /// <summary>Store every k-th state and replay between them: exact, 4 evaluations, memory N/k states and k tapes.</summary>
    /// <param name="every">k; 0 stands for the square root of the number of steps.</param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="every"/> is negative.</exception>
    public static Reconstruction Checkpoint(int every = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(every);
        return new(ReconstructionKind.Checkpoint, every);
    }

    /// <summary>Reads a method as users write it; the inverse of <see cref="ToString"/>.</summary>
    /// <param name="text">Such as <c>inverse</c>, <c>corrected:2</c>, <c>extrapolated:3</c>, <c>adaptive:0.01</c>, <c>checkpoint:8</c>.</param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentException">The text names no method, or its argument is out of range.</exception>
    public static Reconstruction Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var parts = text.Trim().Split(':', 2);
        var argument = parts.Length > 1 ? parts[1] : null;
        try
        {
            return parts[0].ToLowerInvariant() switch
            {
                "backprop" when argument is null => Backprop,
                "inverse" when argument is null => Inverse,
                "corrected" => Corrected(Whole(argument, 1)),
                "extrapolated" => Extrapolated(Whole(argument, 2)),
                "checkpoint" => Checkpoint(Whole(argument, 0)),
                "adaptive" => Adaptive(argument is null ? null : Number(argument)),
                _ => throw new FormatException(),
            };
        }
        catch (Exception exception) when (exception is FormatException or OverflowException or ArgumentOutOfRangeException)
        {
            var name = parts[0].ToLowerInvariant();
            var problem = Names.Contains(name) ? $"has an argument that {name} does not take" : "is unknown" + Suggestion.Hint(name, Names);
            throw new ArgumentException(
                $"reconstruction '{text}' {problem}; expected backprop, checkpoint[:k], inverse, corrected[:k], extrapolated[:2|3] or adaptive[:tolerance]",
                exception);
        }
    }

    /// <summary>Reads a method as users write it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="result">The method, where the text names one.</param>
    /// <returns>Whether it does.</returns>
    public static bool TryParse(string? text, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Reconstruction? result)
    {
        try
        {
            result = text is null ? null : Parse(text);
        }
        catch (ArgumentException)
        {
            result = null;
        }

        return result is not null;
    }

    /// <summary>The method as users write it; its default argument is left out where it needs none.</summary>
    /// <returns>Text that <see cref="Parse"/> reads.</returns>
    public override string ToString() => this switch
    {
        { Kind: ReconstructionKind.Adaptive, Tolerance: { } t } => $"{Name}:{t.ToString("R", CultureInfo.InvariantCulture)}",
        { Kind: ReconstructionKind.Corrected, Count: 1 } or { Kind: ReconstructionKind.Extrapolated, Count: 2 } => Name,
        { Count: > 0 } => $"{Name}:{Count.ToString(CultureInfo.InvariantCulture)}",
        _ => Name,
    };

    // Copied: the native list's elements live only as long as the list.
    private static List<PlanRow> ReadPlans()
    {
        using var native = Functions.ReconstructionPlans();
        return [.. native.Select(plan => new PlanRow(plan.Kind, plan.Name, plan.Order, plan.MemoryFree))];
    }

    private static int Whole(string? text, int otherwise) =>
        text is null ? otherwise : int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);

    private static double Number(string text) => double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture);

    private sealed record PlanRow(ReconstructionKind Kind, string Name, long Order, bool MemoryFree);
}
