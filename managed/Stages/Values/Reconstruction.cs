using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using ResNetNodes.Interop;

namespace ResNetNodes;

/// <summary>
/// How the states of a stage are reconstructed in the backward pass: a row of the native table of methods and its argument. A value
/// that prints and parses itself, as users write it (<c>adaptive:0.1</c>, <c>corrected:2</c>). Orders, costs and derivations:
/// docs/reconstructions.md.
/// </summary>
public sealed record Reconstruction
{
    // Where the native table sets no end: a count that costs evaluations, and one that counts steps.
    private const long MostEvaluations = 100, MostSteps = 1 << 20;

    private static readonly Lazy<IReadOnlyList<Plan>> Table = new(ReadPlans);

    private readonly Plan plan;

    private Reconstruction(Plan plan, long count, double? tolerance) => (this.plan, Count, Tolerance) = (plan, count, tolerance);

    /// <summary>Store the tape of every step: exact, memory grows with depth; 3 evaluations per layer and training step.</summary>
    public static Reconstruction Backprop => Of(ReconstructionKind.Backprop);

    /// <summary>
    /// The paper's method (arXiv 2205.14612, section 4): the solver's reverse step, for Euler x̃ₙ = xₙ₊₁ − h fₙ(xₙ₊₁).
    /// Gradient error O(1/N), for Heun O(1/N²) or better; 5 evaluations.
    /// </summary>
    public static Reconstruction Inverse => Of(ReconstructionKind.Inverse);

    /// <summary>The names that can be parsed.</summary>
    public static IReadOnlyList<string> Names => [.. Table.Value.Select(plan => plan.Name)];

    /// <summary>The method's name, without its argument.</summary>
    public string Name => plan.Name;

    /// <summary>Order in h of the gradient's error on smooth weights with Euler's solver; 0 for the exact methods.</summary>
    public long Order => plan.Order + (plan.OrderGrows ? Beyond : 0);

    /// <summary>Evaluations of residual functions per layer of a training step with Euler's solver, forward and backward pass.</summary>
    public double Evaluations => plan.Evaluations + (plan.EvaluationsGrow ? Beyond : 0);

    /// <summary>Whether memory is independent of depth.</summary>
    public bool IsMemoryFree => plan.MemoryFree;

    /// <summary>All methods with their arguments in brackets: "backprop, checkpoint[:k], …".</summary>
    internal static string Syntax => string.Join(", ", Table.Value.Select(plan => plan.Syntax));

    /// <summary>One method of each row, with its default argument.</summary>
    internal static IReadOnlyList<Reconstruction> All => [.. Table.Value.Select(plan => plan.Default)];

    /// <summary>One line of help.</summary>
    internal string Summary => plan.Summary;

    internal ReconstructionKind Kind => plan.Kind;

    internal long Count { get; }

    internal double? Tolerance { get; }

    // What the count is more than its default.
    private long Beyond => plan.Argument == PlanArgument.Count ? Count - plan.DefaultCount : 0;

    /// <summary>Fixed-point iterations and a correction.</summary>
    /// <param name="iterations">Fixed-point iterations k for x̃ₙ, from 1 to 100.</param>
    /// <remarks>
    /// x̃ₙ ← xₙ₊₁ − Φₙ(x̃ₙ), k times from xₙ₊₁; gradient at x̃ₙ; xₙ ← xₙ₊₁ − Φₙ(x̃ₙ), a value
    /// the gradient needs anyway. Gradient error O(1/N^(k+1)), also for weights that are not smooth in depth. Cost: 4 + k
    /// evaluations per layer (backprop 3, checkpoint 4). Wrong where h·Lip(fₙ) is not small.
    /// </remarks>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="iterations"/> is out of that range.</exception>
    public static Reconstruction Corrected(int iterations = 1) => Counted(ReconstructionKind.Corrected, iterations, nameof(iterations));

    /// <summary>
    /// The increment extrapolated from the last ones, and a correction: 4 evaluations; only if weights are smooth in depth.
    /// </summary>
    /// <param name="order">2 or 3: how many increments the prediction uses. Gradient error O(1/N^(order+1)) on smooth weights.</param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="order"/> is neither 2 nor 3.</exception>
    public static Reconstruction Extrapolated(int order = 2) => Counted(ReconstructionKind.Extrapolated, order, nameof(order));

    /// <summary>
    /// Finds each state to a tolerance, and keeps or replays those that it can't find so: at most 7 at a time, or 2√N. The
    /// default.
    /// </summary>
    /// <param name="tolerance">
    /// Estimated error ‖x̃ − x_n‖ / ‖x_n‖ of a state at which a gradient is taken; positive, at most 1. Null: 1e-3.
    /// </param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="tolerance"/> is out of that range.</exception>
    public static Reconstruction Adaptive(double? tolerance = null)
    {
        var method = Of(ReconstructionKind.Adaptive);
        return tolerance is not { } given ? method
            : Plan.Accepts(given) ? new(method.plan, method.Count, given)
            : throw new ArgumentOutOfRangeException(nameof(tolerance), tolerance, $"{method.Name} takes {method.plan.ArgumentText}");
    }

    /// <summary>Store every k-th state and replay between them: exact, 4 evaluations, memory N/k states and k tapes.</summary>
    /// <param name="every">k, up to 1048576; 0 stands for the square root of the number of steps.</param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="every"/> is negative, or larger.</exception>
    public static Reconstruction Checkpoint(int every = 0) => Counted(ReconstructionKind.Checkpoint, every, nameof(every));

    /// <summary>Reads a method as users write it; the inverse of <see cref="ToString"/>.</summary>
    /// <param name="text">
    /// Such as <c>inverse</c>, <c>corrected:2</c>, <c>extrapolated:3</c>, <c>adaptive:0.01</c>, <c>checkpoint:8</c>.
    /// </param>
    /// <returns>The method.</returns>
    /// <exception cref="ArgumentException">The text names no method, or its argument is out of range.</exception>
    public static Reconstruction Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var (name, argument) = text.Trim().Split(':', 2) is [var first, var rest] ? (first, rest) : (text.Trim(), null);
        var plan = Table.Value.FirstOrDefault(row => row.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (plan is null)
        {
            var hint = Suggestion.Hint(name.ToLowerInvariant(), Names);
            throw new ArgumentException(
                $"reconstruction '{text}' is unknown{hint}; expected {Suggestion.List(Table.Value.Select(row => row.Syntax))}");
        }

        return argument is null ? plan.Default
            : plan.TryRead(argument) ?? throw new ArgumentException($"reconstruction '{text}': {plan.Name} takes {plan.ArgumentText}");
    }

    /// <summary>Reads a method as users write it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="result">The method, if the text names one.</param>
    /// <returns>Whether it does.</returns>
    public static bool TryParse(string? text, [NotNullWhen(true)] out Reconstruction? result)
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

    /// <summary>The method as users write it, without an argument that is the default.</summary>
    /// <returns>Text that <see cref="Parse"/> reads.</returns>
    public override string ToString() => plan.Argument switch
    {
        PlanArgument.Tolerance when Tolerance is { } tolerance => $"{Name}:{tolerance.ToString("R", CultureInfo.InvariantCulture)}",
        PlanArgument.Count when Count != plan.DefaultCount => $"{Name}:{Count.ToString(CultureInfo.InvariantCulture)}",
        _ => Name,
    };

    private static Reconstruction Of(ReconstructionKind kind) => Table.Value.Single(plan => plan.Kind == kind).Default;

    private static Reconstruction Counted(ReconstructionKind kind, int count, string parameter)
    {
        var plan = Of(kind).plan;
        return plan.Accepts(count)
            ? new(plan, count, null)
            : throw new ArgumentOutOfRangeException(parameter, count, $"{plan.Name} takes {plan.ArgumentText}");
    }

    // Copied: the native list's elements live only as long as the list.
    private static List<Plan> ReadPlans()
    {
        NativeLibraries.Require();
        using var native = Functions.ReconstructionPlans();
        return [.. native.Select(plan => new Plan(
            plan.Kind, plan.Name, plan.Summary, plan.Argument, plan.ArgumentName, plan.DefaultCount, plan.LeastCount,
            plan.MostCount > 0 ? plan.MostCount : plan.EvaluationsGrow ? MostEvaluations : MostSteps,
            plan.Order, plan.OrderGrows, plan.Evaluations, plan.EvaluationsGrow, plan.MemoryFree))];
    }

    private sealed record Plan(
        ReconstructionKind Kind,
        string Name,
        string Summary,
        PlanArgument Argument,
        string ArgumentName,
        long DefaultCount,
        long LeastCount,
        long MostCount,
        long Order,
        bool OrderGrows,
        double Evaluations,
        bool EvaluationsGrow,
        bool MemoryFree)
    {
        public Reconstruction Default => new(this, Argument == PlanArgument.Count ? DefaultCount : 0, null);

        public string Syntax => Argument == PlanArgument.None ? Name : $"{Name}[:{ArgumentName}]";

        public string ArgumentText => Argument switch
        {
            PlanArgument.None => "no argument",
            PlanArgument.Count => $"a whole number {ArgumentName} of at least {LeastCount} and at most {MostCount}" + Reason,
            PlanArgument.Tolerance => $"a positive number as its {ArgumentName}, at most 1: an error of 1 is as large as the state",
            _ => throw new ArgumentOutOfRangeException(nameof(Argument), Argument, null),
        };

        private string Reason => MostCount switch
        {
            MostEvaluations => ": each is one more evaluation of every function",
            MostSteps => ": no stage has more steps",
            _ => string.Empty,
        };

        public static bool Accepts(double tolerance) => tolerance is > 0 and <= 1;

        public bool Accepts(long count) => count == DefaultCount || (count >= LeastCount && count <= MostCount);

        public Reconstruction? TryRead(string argument) => Argument switch
        {
            PlanArgument.Count when int.TryParse(argument, NumberStyles.None, CultureInfo.InvariantCulture, out var count)
                && Accepts(count) =>
                new(this, count, null),
            PlanArgument.Tolerance when double.TryParse(
                    argument, NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture,
                    out var tolerance)
                && Accepts(tolerance) =>
                new(this, 0, tolerance),
            _ => null,
        };
    }
}
