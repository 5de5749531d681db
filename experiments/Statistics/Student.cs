using MathNet.Numerics.Distributions;

namespace ResNetNodes.Experiments.Statistics;

/// <summary>Intervals by Student's t distribution.</summary>
internal static class Student
{
    // That an interval holds what it is to hold.
    private const double Confidence = 0.95;

    /// <summary>How many standard errors an interval reaches to each side.</summary>
    /// <param name="freedom">Values beyond those that were fitted; at least 1.</param>
    /// <param name="comparisons">Intervals that are to hold all at once (Bonferroni).</param>
    public static double Reach(int freedom, int comparisons = 1) =>
        StudentT.InvCDF(0, 1, freedom, 1 - ((1 - Confidence) / 2 / comparisons));
}
