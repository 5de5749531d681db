using System.Globalization;
using System.Text.Json;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Experiments.Statistics;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What both sides of a comparison have trained.</summary>
/// <param name="Network">One of <see cref="BenchNetwork.Names"/>.</param>
/// <param name="Planes">Channels of the state, or of the first of four stages.</param>
/// <param name="Depth">Residual functions, of networks of one stage.</param>
/// <param name="Size">Of networks of four stages.</param>
/// <param name="Classes">Of networks that end in scores.</param>
/// <param name="Image">Rows and columns of the images of networks of four stages.</param>
/// <param name="Batch">Images.</param>
/// <param name="TrainSteps">Training of the weights beforehand.</param>
internal sealed record BenchSetting(
    string Network, int Planes, int? Depth, string? Size, int? Classes, int? Image, int Batch, int TrainSteps);

/// <summary>Times of one method's step.</summary>
/// <param name="Method">PyTorch's begin with pytorch-, ours are as on the command line.</param>
/// <param name="Precision">Of the residual functions; PyTorch's bfloat16 is its autocast.</param>
/// <param name="RoundSeconds">The median of each round, in order; none where it did not run.</param>
/// <param name="Failure">Why it did not run.</param>
internal sealed record ComparedMethod(string Method, string Precision, IReadOnlyList<double> RoundSeconds, string? Failure)
{
    /// <summary>The median of the rounds; null where it did not run.</summary>
    internal double? Seconds => RoundSeconds.Count > 0 ? Fit.Quantile(RoundSeconds, 0.5) : null;

    internal bool IsPytorch => Method.StartsWith(BenchComparison.Pytorch, StringComparison.Ordinal);
}

/// <summary>A ratio of two methods' times: of their medians, and its range over the rounds.</summary>
internal sealed record RatioOfTimes(double Median, double Least, double Most);

/// <summary>PyTorch and this library on one network, in rounds that took turns.</summary>
/// <param name="Setting">What was trained.</param>
/// <param name="Parameters">Numbers that the network learns, the same on both sides.</param>
/// <param name="ForwardGflop">Of its forward pass, the same as well.</param>
/// <param name="Date">When.</param>
/// <param name="PytorchVersion">PyTorch's.</param>
/// <param name="Version">Of ResNet Nodes.</param>
/// <param name="Commit">Of its sources.</param>
/// <param name="Threads">Of each side.</param>
/// <param name="Steps">Measured steps of each method in a round.</param>
/// <param name="Command">The command.</param>
/// <param name="Methods">Both sides' methods in their order.</param>
internal sealed record BenchComparison(
    BenchSetting Setting,
    long Parameters,
    double ForwardGflop,
    string Date,
    string PytorchVersion,
    string Version,
    string? Commit,
    int Threads,
    int Steps,
    string Command,
    IReadOnlyList<ComparedMethod> Methods)
{
    public const string Pytorch = "pytorch-";

    private static readonly string[] Plain = [Pytorch + "eager", Pytorch + "channels-last"];

    private static readonly JsonSerializerOptions Format = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>What ratios of a precision are to: the faster of PyTorch's two layouts. Null where neither ran.</summary>
    internal ComparedMethod? Best(string precision) => Methods
        .Where(m => m.Precision == precision && Plain.Contains(m.Method) && m.Seconds is not null).MinBy(m => m.Seconds);

    /// <summary>Stock TorchSharp's step; null where it was not measured.</summary>
    internal ComparedMethod? Stock => Methods.FirstOrDefault(m => m.Method == BenchMethod.Reference && m.Seconds is not null);

    /// <summary>Rounds of each side.</summary>
    internal int Rounds => Methods.Max(m => m.RoundSeconds.Count);

    internal static RatioOfTimes? Ratio(ComparedMethod method, ComparedMethod? to)
    {
        if (to is null || method.Seconds is not { } seconds)
        {
            return null;
        }

        var each = method.RoundSeconds.Zip(to.RoundSeconds, (own, other) => own / other).ToList();
        return new(seconds / to.Seconds!.Value, each.Min(), each.Max());
    }

    /// <summary>Reads the rounds of one comparison: a file a side and round, with rows as bench writes them.</summary>
    /// <param name="folder">Holds pytorch-1.json, ours-1.json, pytorch-2.json, ...</param>
    /// <param name="machine">This machine.</param>
    /// <param name="steps">Measured steps of each method in a round.</param>
    /// <param name="command">The command.</param>
    /// <exception cref="ResNetNodesException">A file can't be read, or the two sides have not trained the same network.</exception>
    public static BenchComparison Read(string folder, BenchMachine machine, int steps, string command)
    {
        List<Row> Side(string name) =>
        [
            .. Enumerable.Range(1, int.MaxValue).Select(round => Path.Combine(folder, $"{name}-{round}.json")).TakeWhile(File.Exists)
                .SelectMany(Rows).Where(row => row.StepSeconds is not null || row.Failure is not null),
        ];
        var (theirs, ours) = (Side("pytorch"), Side("ours"));
        if (theirs.Count == 0 || ours.Count == 0)
        {
            throw new ResNetNodesException(
                $"{folder}: holds no round of {(ours.Count == 0 ? "ours: ours-1.json" : "PyTorch: pytorch-1.json")}; measure again");
        }

        var all = theirs.Concat(ours).ToList();
        var measured = all.Where(row => row.StepSeconds is not null).ToList();
        var first = measured[0];
        foreach (var row in all.Where(row => row.Setting != first.Setting))
        {
            throw new ResNetNodesException($"{folder}: {row.Method} was measured on {row.Setting}, {first.Method} on {first.Setting}");
        }

        foreach (var row in measured.Where(row => row.Parameters != first.Parameters || !IsSame(row.ForwardGflop, first.ForwardGflop)))
        {
            throw new ResNetNodesException(string.Create(
                CultureInfo.InvariantCulture,
                $"{folder}: not the same network: {row.Method} has {row.Parameters} parameters and {row.ForwardGflop} GFLOP in a forward "
                + $"pass, {first.Method} {first.Parameters} and {first.ForwardGflop}"));
        }

        return new(
            first.Setting, first.Parameters!.Value, first.ForwardGflop!.Value,
            DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture), theirs[0].Version ?? "not known", machine.Version,
            machine.Commit, machine.Threads, steps, command,
            [
                .. all.GroupBy(row => (row.Method, row.Precision)).Select(own => new ComparedMethod(
                    own.Key.Method, own.Key.Precision, [.. own.Where(row => row.Failure is null).Select(row => row.StepSeconds!.Value)],
                    own.FirstOrDefault(row => row.Failure is not null)?.Failure)),
            ]);
    }

    private static bool IsSame(double? a, double? b) => a is { } x && b is { } y && Math.Abs(x - y) <= 1e-9 * y;

    private static IEnumerable<Row> Rows(string file)
    {
        try
        {
            return
            [
                .. RegularFile.ReadAllText(file, SealedJson.MostBytes).Split('\n', StringSplitOptions.RemoveEmptyEntries)
                    .Select(line => JsonSerializer.Deserialize<Row>(line, Format)!),
            ];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new ResNetNodesException($"{file}: {exception.Message}; measure again", exception);
        }
    }

    /// <summary>What both sides' rows have in common with this.</summary>
    private sealed record Row(
        string Network,
        int Planes,
        int? Depth,
        string? Size,
        int? Classes,
        int? Image,
        int Batch,
        int TrainSteps,
        string Precision,
        string Method,
        double? StepSeconds,
        long? Parameters,
        double? ForwardGflop,
        string? Version,
        string? Failure)
    {
        public BenchSetting Setting => new(Network, Planes, Depth, Size, Classes, Image, Batch, TrainSteps);
    }
}

/// <summary>A compared method as a table shows it.</summary>
/// <param name="Method">The method.</param>
/// <param name="Precision">Of the residual functions.</param>
/// <param name="StepSeconds">Median of the rounds.</param>
/// <param name="StepSecondsFastest">The fastest round.</param>
/// <param name="StepSecondsSlowest">The slowest round.</param>
/// <param name="RatioToPytorch">The median over that of the better of PyTorch's two layouts in the same precision.</param>
/// <param name="RatioLeast">The least of the rounds.</param>
/// <param name="RatioMost">The most of the rounds.</param>
/// <param name="RatioToBackprop">The median over that of stock TorchSharp's backprop, which is in float32.</param>
/// <param name="Failure">Why it did not run.</param>
internal sealed record ComparedRow(
    string Method,
    string Precision,
    double? StepSeconds,
    double? StepSecondsFastest,
    double? StepSecondsSlowest,
    double? RatioToPytorch,
    double? RatioLeast,
    double? RatioMost,
    double? RatioToBackprop,
    string? Failure)
{
    public static IEnumerable<ComparedRow> Of(BenchComparison comparison) => comparison.Methods.Select(method =>
    {
        var ratio = BenchComparison.Ratio(method, comparison.Best(method.Precision));
        return new ComparedRow(
            method.Method, method.Precision, method.Seconds,
            method.RoundSeconds.Count > 0 ? method.RoundSeconds.Min() : null,
            method.RoundSeconds.Count > 0 ? method.RoundSeconds.Max() : null,
            ratio?.Median, ratio?.Least, ratio?.Most, BenchComparison.Ratio(method, comparison.Stock)?.Median, method.Failure);
    });
}
