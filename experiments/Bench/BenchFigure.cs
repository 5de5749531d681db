using System.Globalization;
using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Bench;

/// <summary>Time and memory of a step against depth: one figure a network, width and training.</summary>
internal static class BenchFigure
{
    /// <summary>Name of the files, without their kind.</summary>
    public static string Name(string network, int planes, int trainSteps) =>
        $"bench-{network}-{planes}" + (trainSteps > 0 ? $"-trained-{trainSteps}" : string.Empty);

    /// <summary>Draws the rows that have a depth.</summary>
    /// <returns>The PNG's path.</returns>
    public static string Save(RunFolder folder, string network, int planes, int trainSteps, IReadOnlyList<BenchRow> rows)
    {
        var points = rows.Where(row => row.Depth is not null).ToList();
        var title = $"A training step, {network}, {planes} planes"
            + (trainSteps > 0 ? $", after {trainSteps} steps" : string.Empty);
        var ticks = points.Select(p => p.Depth!.Value).Distinct().Order()
            .Select(d => ((double)d, d.ToString(CultureInfo.InvariantCulture))).ToList();
        Panel Draw(string y, Func<BenchRow, double?> of) => new("Depth N", y,
        [
            .. points.GroupBy(p => p.Method).Select((own, i) =>
            {
                // What all are compared with is black: the palette has one colour fewer than there are methods.
                var colour = own.Key == BenchMethod.Reference ? "#000000" : PaperFigure.ColourAt(i);
                var known = own.Where(p => of(p) is not null).ToList();
                return new Series(
                    own.Key, [.. known.Select(p => (double)p.Depth!)], [.. known.Select(p => of(p)!.Value)], colour,
                    Open: BenchMethod.Peers.Contains(own.Key));
            }),
        ])
        {
            LogX = true,
            LogY = true,
            TicksX = ticks,
        };
        List<Panel> panels = [Draw("Seconds", p => p.StepSeconds)];
        if (points.Any(p => p.StepBytes is not null))
        {
            panels.Add(Draw("Peak beyond rest (MiB)", p => p.StepBytes / 1048576.0));
        }

        return PaperFigure.Save(folder, Name(network, planes, trainSteps), title, [.. panels]);
    }
}
