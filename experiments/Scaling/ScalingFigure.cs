using ResNetNodes.Experiments.Figures;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Scaling;

/// <summary>Efficiency against ranks and depth, a line a link.</summary>
internal static class ScalingFigure
{
    private const string Efficiency = "Efficiency (%)";

    /// <summary>Draws it.</summary>
    /// <returns>The PNG's path.</returns>
    public static string Save(
        RunFolder folder, ScalingMeasurement run, ScalingForecast forecast, IReadOnlyList<ScalingForecastRow> rows, string network)
    {
        var kept = forecast.StepSeconds(StepKinds.Together) / forecast.StepSeconds(StepKinds.Overlapped);
        var measured = new Series($"measured, {run.Ranks} ranks", [run.Ranks], [100 * kept], "#000000")
        {
            Stroke = Stroke.None,
            Marker = Marker.Square,
        };
        return PaperFigure.Save(
            folder, "scaling",
            $"{network}: {run.Ranks} ranks keep {kept:0 %} of the speed that they have without sums; more ranks by the model",
            PanelOf("weak", $"{run.Images} images a rank", row => row.Ranks, "Ranks", [measured]),
            PanelOf("strong", $"{run.Ranks * run.Images} images in all", row => row.Ranks, "Ranks", []),
            PanelOf(
                "depth", $"{ScalingForecast.RanksOfDepths} ranks, {run.Images} images a rank", row => row.DepthFactor,
                "Depth beside that of this run", []));

        Panel PanelOf(string scaling, string title, Func<ScalingForecastRow, double> x, string label, IReadOnlyList<Series> points)
        {
            var own = rows.Where(row => row.Scaling == scaling).ToList();
            return new(
                label, Efficiency,
                [
                    .. own.GroupBy(row => row.Link).Select((link, i) => new Series(
                        link.Key, [.. link.Select(x)], [.. link.Select(row => 100 * row.Efficiency)], PaperFigure.ColourAt(i))
                    {
                        Marker = Marker.None,
                    }),
                    .. points,
                ])
            {
                Title = title,
                LogX = true,
                RangeY = (0, 105),
                TicksX = [.. own.Select(x).Distinct().Order().Where((_, i) => i % 2 == 0).Select(at => (at, $"{at}"))],
            };
        }
    }
}
