using System.Globalization;

namespace ResNetNodes.Experiments.Figures;

/// <summary>A tick of an axis.</summary>
/// <param name="At">Where, as the axis is drawn: the logarithm on a logarithmic one.</param>
/// <param name="Label">Empty for none.</param>
internal sealed record AxisTick(double At, string Label)
{
    /// <summary>Between those with a label: short, without a grid line.</summary>
    public bool IsMinor { get; init; }
}

/// <summary>Where axes are labelled: at round numbers, at least two of them, whose labels do not touch.</summary>
internal static class AxisTicks
{
    private const double Gap = 8;

    // Up to so many decades whole numbers of these are labelled, the finest first.
    private static readonly (double Decades, int[][] Multiples)[] Levels =
    [
        (0.75, [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 5], [1, 2, 5]]),
        (1.5, [[1, 2, 3, 5], [1, 2, 5], [1, 3]]),
        (4, [[1, 2, 5], [1, 3], [1]]),
    ];

    /// <summary>Ticks of a logarithmic axis.</summary>
    /// <param name="low">Its lower end, a decimal logarithm.</param>
    /// <param name="high">Its upper end.</param>
    /// <param name="pixels">Its length.</param>
    /// <param name="extent">How much of it a label takes.</param>
    public static IReadOnlyList<AxisTick> Log(double low, double high, double pixels, Func<string, double> extent)
    {
        var isPlain = low >= -3.2 && high <= 5.2 && high - low <= 4;
        string Name(int multiple, int exponent) => isPlain
            ? Plain(multiple * (decimal)Math.Pow(10, exponent))
            : multiple == 1 ? Power(exponent) : $"{multiple}×{Power(exponent)}";
        bool Fits(IReadOnlyList<AxisTick> ticks) => AxisTicks.Fits(ticks, pixels / (high - low), extent);
        List<AxisTick> At(int[] multiples, int every = 1) =>
        [
            .. from exponent in Enumerable.Range((int)Math.Floor(low), (int)Math.Ceiling(high) - (int)Math.Floor(low) + 1)
               from multiple in multiples
               let at = exponent + Math.Log10(multiple)
               where exponent % every == 0 && at >= low - 1e-9 && at <= high + 1e-9
               select new AxisTick(at, Name(multiple, exponent)),
        ];
        if (high - low > 4)
        {
            var every = Enumerable.Range(1, 400).First(n => Fits(At([1], n)));
            var between = every == 1 ? At([2, 3, 4, 5, 6, 7, 8, 9]) : At([1]);
            return [.. At([1], every), .. Minor(between, At([1], every))];
        }

        foreach (var multiples in Levels.First(level => high - low <= level.Decades).Multiples)
        {
            var labelled = At(multiples);
            if (labelled.Count > 1 && Fits(labelled))
            {
                return [.. labelled, .. Minor(At([1, 2, 3, 4, 5, 6, 7, 8, 9]), labelled)];
            }
        }

        // Less than there are such numbers in: evenly spaced ones.
        var (from, to) = (Math.Pow(10, low), Math.Pow(10, high));
        for (var most = 6; ; most--)
        {
            List<AxisTick> even = [.. Linear(from, to, most).Where(t => t.At > 0).Select(t => t with { At = Math.Log10(t.At) })];
            if (most <= 2 || Fits(even))
            {
                return even;
            }
        }
    }

    /// <summary>Ticks of an axis that is not logarithmic, about so many; at whole numbers alone where there is nothing between.</summary>
    public static IReadOnlyList<AxisTick> Linear(double low, double high, int most, bool whole = false)
    {
        var exponent = (int)Math.Floor(Math.Log10((high - low) / most));
        (int Multiple, int Exponent)[] steps =
            [(1, exponent), (2, exponent), (5, exponent), (1, exponent + 1), (2, exponent + 1), (5, exponent + 1)];
        bool Few((int Multiple, int Exponent) step) => (high - low) / Size(step) <= most + 0.5 && (!whole || step.Exponent >= 0);
        static double Size((int Multiple, int Exponent) step) => step.Multiple * Math.Pow(10, step.Exponent);
        List<AxisTick> Of((int Multiple, int Exponent) step)
        {
            var size = Size(step);
            var first = (long)Math.Ceiling((low / size) - 1e-9);
            var count = (long)Math.Floor((high / size) + 1e-9) - first + 1;
            return [.. Enumerable.Range(0, (int)Math.Max(0, count)).Select(i => new AxisTick((first + i) * size, Name(first + i, step)))];
        }

        var fitting = steps.Append((1, 0)).Where(Few).Select(Of).FirstOrDefault(ticks => ticks.Count > 0) ?? [];
        // A step that has one multiple in the range alone names no scale.
        return fitting.Count > 1 || whole ? fitting : steps.Select(Of).Last(ticks => ticks.Count > 1);

        static string Name(long n, (int Multiple, int Exponent) step) => step.Exponent is >= -4 and < 5
            ? Plain(n * step.Multiple * (decimal)Math.Pow(10, step.Exponent), Math.Max(0, -step.Exponent))
            : n == 0 ? "0" : $"{n * step.Multiple}×{Power(step.Exponent)}";
    }

    /// <summary>The same ticks; labels that would touch the one before them are left out.</summary>
    public static IReadOnlyList<AxisTick> Thinned(IReadOnlyList<AxisTick> ticks, double scale, Func<string, double> extent)
    {
        var thinned = new List<AxisTick>();
        AxisTick? before = null;
        foreach (var tick in ticks)
        {
            var isFree = before is null || Fits([before, tick], scale, extent);
            thinned.Add(isFree ? tick : tick with { Label = string.Empty });
            before = isFree ? tick : before;
        }

        return thinned;
    }

    /// <summary>A number as people write it: no exponent, and a minus sign where the font has one.</summary>
    public static string Plain(decimal number, int? digits = null)
    {
        var text = Math.Abs(number).ToString(digits is { } n ? $"F{n}" : "0.############", CultureInfo.InvariantCulture);
        return number >= 0 ? text : (FigureText.Shows("\u2212") ? "\u2212" : "-") + text;
    }

    private static string Power(int exponent)
    {
        const string superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹", minus = "⁻";
        if (!FigureText.Shows(superscripts + minus))
        {
            return $"1e{exponent}";
        }

        var digits = Math.Abs(exponent).ToString(CultureInfo.InvariantCulture).Select(digit => superscripts[digit - '0']);
        return "10" + (exponent < 0 ? minus : string.Empty) + string.Concat(digits);
    }

    private static bool Fits(IReadOnlyList<AxisTick> ticks, double scale, Func<string, double> extent) =>
        ticks.Zip(ticks.Skip(1), (a, b) => ((b.At - a.At) * scale) - ((extent(a.Label) + extent(b.Label)) / 2)).All(free => free >= Gap);

    private static IEnumerable<AxisTick> Minor(List<AxisTick> all, List<AxisTick> labelled) =>
        all.Where(t => labelled.TrueForAll(l => Math.Abs(l.At - t.At) > 1e-9))
            .Select(t => new AxisTick(t.At, string.Empty) { IsMinor = true });
}
