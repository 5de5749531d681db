using System.Globalization;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Solvers as users and figures name them.</summary>
internal static class Solvers
{
    public static IReadOnlyList<string> Names { get; } = [.. Enum.GetNames<Solver>().Select(name => name.ToLowerInvariant())];

    public static Solver Parse(string option, string text) => Read.Choice<Solver>(option, text);

    public static string Name(this Solver solver) => Names[(int)solver];

    public static int InverseOrder(this Solver solver) => solver == Solver.Euler ? 1 : 2;

    public static int LeastDepth(this Solver solver) => solver == Solver.Euler ? 1 : 2;

    public static int StepCount(this Solver solver, int depth) => solver == Solver.Euler ? depth : depth - 1;

    public static int Evaluations(this Solver solver, int depth) => solver.StepCount(depth) * solver.FunctionOffsets().Count;

    public static IReadOnlyList<int> FunctionOffsets(this Solver solver) => solver == Solver.Euler ? [0] : [0, 1];

    public static IReadOnlyList<double> Row(this Solver solver, int stage) => stage == 0 ? [] : [1];

    public static IReadOnlyList<double> Weights(this Solver solver) => solver == Solver.Euler ? [1] : [0.5, 0.5];

    /// <summary>A network of one stage with it: the paper's ResNet and HeunNet, and others after their kind.</summary>
    public static string NetworkName(string solver) =>
        solver == "euler" ? "ResNet" : char.ToUpper(solver[0], CultureInfo.InvariantCulture) + solver[1..] + "Net";
}

/// <summary>Reconstructions as users name them.</summary>
internal static class Reconstructions
{
    public static string Syntax => "backprop, checkpoint[:k], inverse, corrected[:k], extrapolated[:m] or adaptive[:tolerance]";

    public static IReadOnlyList<string> Usual { get; } =
        ["backprop", "checkpoint", "inverse", "corrected", "corrected:2", "extrapolated", "adaptive"];
}
