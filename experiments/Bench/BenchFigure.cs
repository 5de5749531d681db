using System.Globalization;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Bench;

/// <summary>Time and memory of a step against depth: one figure a line of points.</summary>
internal static class BenchFigure
{
    /// <summary>Whether there is anything to draw: networks of four stages have no depth.</summary>
    public static bool Shows(IEnumerable<BenchRow> rows) => rows.Any(row => row.IsPoint && row.Depth is not null);

    /// <summary>Name of the files, without their kind.</summary>
    public static string Name(BenchSeries line) => $"bench-{line.Network}-{line.Planes}-batch-{line.Batch}"
        + (line.Precision == BenchNetwork.Float32 ? string.Empty : "-" + line.Precision)
        + (line.TrainSteps > 0 ? $"-trained-{line.TrainSteps}" : string.Empty);

    /// <summary>Draws the rows that have a depth.</summary>
    /// <returns>The PNG's path.</returns>
    public static string Save(RunFolder folder, BenchSeries line, IReadOnlyList<BenchRow> rows)
    {
        var points = rows.Where(row => row.Depth is not null).ToList();
        var title = $"A training step, {line.Network}, {line.Planes} planes, batch {line.Batch}"
            + (line.Precision == BenchNetwork.Float32 ? string.Empty : ", " + line.Precision)
            + (line.TrainSteps > 0 ? $", after {line.TrainSteps} steps" : string.Empty);
        var ticks = points.Select(p => p.Depth!.Value).Distinct().Order()
            .Select(d => ((double)d, d.ToString(CultureInfo.InvariantCulture))).ToList();
        Panel Draw(string y, Func<BenchRow, double?> of) => new("Depth N", y,
        [
            .. points.GroupBy(p => p.Method).Select(own =>
            {
                var known = own.Where(p => of(p) is not null).ToList();
                return new Series(
                    own.Key, [.. known.Select(p => (double)p.Depth!)], [.. known.Select(p => of(p)!.Value)], ColourOf(own.Key))
                {
                    Stroke = BenchMethod.Peers.Contains(own.Key) ? Stroke.Dashed : Stroke.Solid,
                    Marker = BenchMethod.Peers.Contains(own.Key) ? Marker.Circle : Marker.Disc,
                };
            }),
        ])
        {
            LogX = true,
            LogY = true,
            TicksX = ticks,
        };
        List<Panel> panels = [Draw("Time of a step (s)", p => p.StepSeconds)];
        if (points.Any(p => p.StepBytes is not null))
        {
            panels.Add(Draw("Peak memory beyond rest (MiB)", p => p.StepBytes / 1048576.0));
        }

        return PaperFigure.Save(folder, Name(line), title, [.. panels]);
    }

    // Peers have the colour of the method that they are written after, and dashes; what all are compared with is black.
    private static string ColourOf(string method) => method switch
    {
        BenchMethod.Reference => "#000000",
        BenchMethod.ChannelsLast => "#7f7f7f",
        _ => PaperFigure.ColourOfMethod(BenchMethod.Peers.Contains(method) ? method[(method.IndexOf('-') + 1)..] : method),
    };
}
