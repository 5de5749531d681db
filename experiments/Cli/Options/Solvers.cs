using System.Globalization;

namespace ResNetNodes.Experiments.Cli.Options;

/// <summary>Solvers as users and figures name them.</summary>
internal static class Solvers
{
    public static IReadOnlyList<string> Names => [.. Solver.All.Select(solver => solver.Name)];

    public static Solver Parse(string option, string text) => Read.Checked(option, text, Solver.Parse);

    public static int LeastDepth(this Solver solver) => solver.FunctionOffsets.Max() + 1;

    public static int Evaluations(this Solver solver, int depth) => solver.StepCount(depth) * solver.EvaluationsPerStep;

    /// <summary>Row i of the tableau: the weights of the evaluations before evaluation i.</summary>
    public static IReadOnlyList<double> Row(this Solver solver, int stage) => [.. solver.A.Skip(stage * (stage - 1) / 2).Take(stage)];

    /// <summary>A network of one stage with it: the paper's ResNet and HeunNet, and others after their kind.</summary>
    public static string NetworkName(string solver) =>
        solver == "euler" ? "ResNet" : char.ToUpper(solver[0], CultureInfo.InvariantCulture) + solver[1..] + "Net";
}

/// <summary>Reconstructions as users name them.</summary>
internal static class Reconstructions
{
    public static string Syntax => Reconstruction.Syntax;

    public static IReadOnlyList<string> Usual { get; } =
        ["backprop", "checkpoint", "inverse", "corrected", "corrected:2", "extrapolated", "adaptive"];
}
