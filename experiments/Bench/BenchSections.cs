using System.Globalization;
using System.Text;
using static ResNetNodes.Experiments.Bench.Markdown;

namespace ResNetNodes.Experiments.Bench;

/// <summary>The sections of a page on the benchmark's own points: one a network, width, image and batch.</summary>
internal static class BenchSections
{
    private const double Mebibyte = 1 << 20;

    /// <summary>Writes a section: for each precision and training, ratios by depth, a figure, and all points.</summary>
    /// <param name="page">The page.</param>
    /// <param name="network">What its lines have in common.</param>
    /// <param name="lines">The lines.</param>
    /// <param name="data">The folder of the figures, from the page.</param>
    public static void Write(StringBuilder page, BenchSeries network, IEnumerable<IGrouping<BenchSeries, BenchRow>> lines, string data)
    {
        page.Append(Inv($"\n## {BenchTitle.Of(network)}\n"));
        foreach (var line in lines)
        {
            var points = line.Where(row => row.IsPoint).ToList();
            page.Append(line.Key.TrainSteps > 0 ? Inv($"\n### After {line.Key.TrainSteps} training steps") : "\n### At initialization");
            page.Append(line.Key.Precision == BenchNetwork.Float32 ? "\n\n" : $", {line.Key.Precision}\n\n");
            if (BenchFigure.Shows(points))
            {
                WriteDepths(page, points, [.. line.Where(row => !row.IsPoint)]);
                page.Append(Inv($"\n![Time and memory against depth]({data}/{BenchFigure.Name(line.Key)}.png)\n\n"));
            }

            WritePoints(page, points);
        }
    }

    private static void WriteDepths(StringBuilder page, List<BenchRow> points, List<BenchRow> fits)
    {
        var depths = points.Select(p => p.Depth!.Value).Distinct().Order().ToList();
        var name = points.Any(p => p.RatioToBackprop is not null) ? "ratio to stock backprop" : "method";
        string[] head = [name, .. depths.Select(d => Inv($"depth {d}")), "bytes per added layer", "exponent", "of the stage"];
        Table(page, head, points.GroupBy(p => p.Method).Select(own =>
        {
            var fit = fits.FirstOrDefault(row => row.Method == own.Key);
            return (string[])
            [
                $"`{own.Key}`", .. depths.Select(d => Number(own.FirstOrDefault(p => p.Depth == d)?.RatioToBackprop, "0.000")),
                Number(fit?.BytesPerLayer, "N0"), Number(fit?.TimeExponent, "0.000"), Number(fit?.StageExponent, "0.000"),
            ];
        }));
    }

    private static void WritePoints(StringBuilder page, List<BenchRow> points) => Table(
        page,
        [
            points[0].Size is null ? "depth" : "size", "method", "ratio", "time (ms)", "rounds", "evaluations", "GFLOP/s", "of peak",
            "overhead", "peak (MiB)", "of it the step's (MiB)", "gradient error",
        ],
        points.Select(p => (string[])
        [
            p.Size ?? p.Depth!.Value.ToString(CultureInfo.InvariantCulture), $"`{p.Method}`", Number(p.RatioToBackprop, "0.000"),
            Range(p.StepSeconds * 1e3, p.StepSecondsFastest * 1e3, p.StepSecondsSlowest * 1e3, "0.0"), Inv($"{p.Rounds}"),
            Number(p.EvaluationsPerLayer, "0.00"), Number(p.NominalGflops, "0"), Percent(p.NominalShareOfPeak),
            Percent(p.OverheadShare), Number(p.PeakBytes / Mebibyte, "N0"), Number(p.StepBytes / Mebibyte, "N1"),
            Number(p.GradientError, "0.0e+0"),
        ]));
}
