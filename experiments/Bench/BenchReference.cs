using System.Globalization;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Runs;

namespace ResNetNodes.Experiments.Bench;

/// <summary>Comparisons with PyTorch on one machine: reference.json in the machine's folder beside a page, the raw data.</summary>
/// <param name="Machine">The machine as it was last measured on.</param>
/// <param name="Peak">Its best matrix product then.</param>
/// <param name="Comparisons">One a setting, the latest.</param>
internal sealed record BenchReference(BenchMachine Machine, BenchPeak Peak, IReadOnlyList<BenchComparison> Comparisons)
{
    public const string FileName = "reference.json", TableFile = "reference.csv";

    private const string Remedy = "take it from the repository again, or remove it and measure again with scripts/compare-reference.sh";

    /// <summary>The folder in which a page's data lie, one folder a machine.</summary>
    public static string DataOf(string page) => Path.Combine(
        Path.GetDirectoryName(Path.GetFullPath(page))!, Path.GetFileNameWithoutExtension(page));

    /// <summary>Those of all machines beside a page, in the order of their folders' names.</summary>
    public static IReadOnlyList<BenchReference> All(string page) => [.. Files(page).Select(Read)];

    /// <summary>Adds a comparison to those of its machine; one of the same setting is replaced.</summary>
    /// <param name="page">The page.</param>
    /// <param name="machine">This machine.</param>
    /// <param name="peak">Its best matrix product.</param>
    /// <param name="comparison">The comparison.</param>
    public static void Add(string page, BenchMachine machine, BenchPeak peak, BenchComparison comparison)
    {
        var today = Path.Combine(
            DataOf(page), $"{DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)}-{machine.Name}", FileName);
        var path = Files(page).LastOrDefault(file => Read(file).Machine.Name == machine.Name) ?? today;
        var others = File.Exists(path) ? Read(path).Comparisons.Where(c => c.Setting != comparison.Setting) : [];
        var all = others.Append(comparison)
            .OrderBy(c => BenchNetwork.Names.ToList().IndexOf(c.Setting.Network)).ThenBy(c => c.Setting.Planes)
            .ThenBy(c => c.Setting.Image).ThenBy(c => c.ForwardGflop).ThenBy(c => c.Setting.TrainSteps).ToList();
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        AtomicFile.Write(path, SealedJson.Write(new BenchReference(machine, peak, all)));
        AtomicFile.Write(Path.Combine(Path.GetDirectoryName(path)!, TableFile), Rows.Csv(all.SelectMany(Records).ToList()));
    }

    private static IEnumerable<IReadOnlyDictionary<string, object?>> Records(BenchComparison comparison) =>
        ComparedRow.Of(comparison).Select(row => Rows.Of(comparison.Setting).Concat(Rows.Of(row)).ToDictionary());

    private static IEnumerable<string> Files(string page) => Directory.Exists(DataOf(page))
        ? Directory.EnumerateDirectories(DataOf(page)).Order(StringComparer.Ordinal)
            .Select(folder => Path.Combine(folder, FileName)).Where(File.Exists)
        : [];

    private static BenchReference Read(string path) => SealedJson.Read<BenchReference>(path, Remedy);
}
