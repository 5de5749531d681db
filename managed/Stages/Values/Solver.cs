using System.Diagnostics.CodeAnalysis;
using ResNetNodes.Interop;

namespace ResNetNodes;

/// <summary>
/// How a residual stage is integrated from its first state to its last: a row of the native table of explicit Runge-Kutta methods. A
/// value that prints and parses itself, as users write it (<c>euler</c>, <c>heun</c>).
/// </summary>
/// <remarks>
/// Step n with s evaluations: k_i = f_{n + o_i}(x_n + h Σ_{j&lt;i} a_ij k_j), then x_{n+1} = x_n + h Σ b_i k_i. The offsets o_i let a
/// step evaluate neighbouring functions.
/// </remarks>
public sealed class Solver
{
    private static readonly Lazy<IReadOnlyList<Solver>> Table = new(Read);

    private Solver(SolverPlan plan)
    {
        (Name, Summary, Order, InverseOrder) = (plan.Name, plan.Summary, (int)plan.Order, (int)plan.InverseOrder);
        FunctionOffsets = [.. plan.Functions.Select(offset => (int)offset)];
        (A, B) = ([.. plan.A], [.. plan.B]);
    }

    /// <summary>x_{n+1} = x_n + h f_n(x_n): a ResNet; order 1, N steps for N functions.</summary>
    public static Solver Euler => Parse("euler");

    /// <summary>
    /// k1 = f_n(x), k2 = f_{n+1}(x + h k1), x_{n+1} = x_n + h/2 (k1 + k2): a HeunNet; order 2, N − 1 steps for N functions
    /// (arXiv 2205.14612, section 4).
    /// </summary>
    public static Solver Heun => Parse("heun");

    /// <summary>x_{n+1} = x_n + h f_n(x_n + h/2 f_n(x_n)): order 2 with one function a step, N steps for N functions.</summary>
    public static Solver Midpoint => Parse("midpoint");

    /// <summary>The table; one instance for each row.</summary>
    public static IReadOnlyList<Solver> All => Table.Value;

    /// <summary>The name, as users write it.</summary>
    public string Name { get; }

    /// <summary>One line: the step.</summary>
    public string Summary { get; }

    /// <summary>Order of the forward pass in h, on weights that are smooth in depth.</summary>
    public int Order { get; }

    /// <summary>Evaluations of residual functions in one step.</summary>
    public int EvaluationsPerStep => B.Count;

    /// <summary>
    /// Order in h of the gradient's error with <see cref="Reconstruction.Inverse"/>, on weights that are smooth in depth.
    /// </summary>
    internal int InverseOrder { get; }

    /// <summary>Which function each evaluation of step n takes, from n.</summary>
    internal IReadOnlyList<int> FunctionOffsets { get; }

    /// <summary>The strictly lower triangle of the tableau, row by row: a_21, a_31, a_32, …</summary>
    internal IReadOnlyList<double> A { get; }

    /// <summary>The weights of the evaluations.</summary>
    internal IReadOnlyList<double> B { get; }

    /// <summary>Reads a solver as users write it; the inverse of <see cref="ToString"/>.</summary>
    /// <param name="text">A name of <see cref="All"/>.</param>
    /// <returns>The solver.</returns>
    /// <exception cref="ArgumentException">The text names none.</exception>
    public static Solver Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var word = text.Trim();
        var names = All.Select(solver => solver.Name);
        return All.FirstOrDefault(solver => solver.Name.Equals(word, StringComparison.OrdinalIgnoreCase))
            ?? throw new ArgumentException($"solver '{text}' is unknown{Suggestion.Hint(word, names)}; expected {Suggestion.List(names)}");
    }

    /// <summary>Reads a solver as users write it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="result">The solver, if the text names one.</param>
    /// <returns>Whether it does.</returns>
    public static bool TryParse(string? text, [NotNullWhen(true)] out Solver? result)
    {
        result = All.FirstOrDefault(solver => solver.Name.Equals(text?.Trim(), StringComparison.OrdinalIgnoreCase));
        return result is not null;
    }

    /// <summary>Steps from the first state to the last.</summary>
    /// <param name="depth">Number of functions.</param>
    /// <returns>At least 1.</returns>
    /// <exception cref="ArgumentException">A step needs more functions.</exception>
    public int StepCount(int depth) => (int)Asked(() => Functions.StepCount(Name, depth));

    /// <inheritdoc/>
    public override string ToString() => Name;

    /// <summary>How often each of <paramref name="depth"/> functions is evaluated in one forward pass.</summary>
    /// <exception cref="ArgumentException">A step needs more functions.</exception>
    internal IReadOnlyList<long> UseCounts(int depth) => Asked<IReadOnlyList<long>>(() =>
    {
        using var counts = Functions.UseCounts(Name, depth);
        return [.. counts];
    });

    private static T Asked<T>(Func<T> native)
    {
        try
        {
            return native();
        }
        catch (ResNetNodesException exception)
        {
            throw new ArgumentException(exception.Message, exception);
        }
    }

    // Copied: the native list's elements live only as long as the list.
    private static List<Solver> Read()
    {
        NativeLibraries.Require();
        using var plans = Functions.SolverPlans();
        return [.. plans.Select(plan => new Solver(plan))];
    }
}
