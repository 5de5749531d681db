using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using ResNetNodes.Experiments.Runs;
using ResNetNodes.Training;
using TorchSharp;

namespace ResNetNodes.Experiments.Bench;

/// <summary>What a benchmark was measured on, and how: machine.json.</summary>
/// <param name="Date">Of the first start.</param>
/// <param name="Commands">The starts, each with its date.</param>
/// <param name="Processor">Its name.</param>
/// <param name="Vendor">Its maker, as it says itself; null where the kernel does not tell, as of the next three.</param>
/// <param name="Family">A number of the maker's: processors of one name may be of several.</param>
/// <param name="Model">A number within the family.</param>
/// <param name="Stepping">A number within the model.</param>
/// <param name="Caches">Their sizes, of one core.</param>
/// <param name="Cores">Those that this process may use.</param>
/// <param name="Threads">LibTorch's.</param>
/// <param name="KernelPath">The instruction set of the fused steps in use.</param>
/// <param name="Memory">In GiB.</param>
/// <param name="Os">The operating system.</param>
/// <param name="Dotnet">Version of the run time.</param>
/// <param name="Torchsharp">Version.</param>
/// <param name="Libtorch">Version.</param>
/// <param name="Version">Of ResNet Nodes.</param>
/// <param name="Commit">Of the sources; null where that is not known.</param>
/// <param name="Build">Checksum of the native library and of the managed one.</param>
/// <param name="Settings">Environment variables that change how it computes.</param>
internal sealed record BenchMachine(
    string Date,
    IReadOnlyList<string> Commands,
    string Processor,
    string? Vendor,
    string? Family,
    string? Model,
    string? Stepping,
    string? Caches,
    int Cores,
    int Threads,
    string KernelPath,
    double Memory,
    string Os,
    string Dotnet,
    string Torchsharp,
    string Libtorch,
    string Version,
    string? Commit,
    string Build,
    string Settings)
{
    public const string FileName = "machine.json";

    private static readonly string[] Steering =
    [
        "RESNET_NODES_KERNELS", "RESNET_NODES_FUSED", "OMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "ATEN_", "MALLOC_", "DOTNET_gc",
        "DOTNET_GC",
    ];

    /// <summary>Its short name in the name of a folder.</summary>
    public string Name => Regex.Replace(
        $"{Processor}-{(Family is null ? string.Empty : $"family-{Family}-model-{Model}")}-{Cores}-cores-{KernelPath}".ToLowerInvariant(),
        "[^a-z0-9]+", "-").Trim('-');

    /// <summary>The processor as a page names it.</summary>
    internal string Chip =>
        Processor + (Family is null ? string.Empty : $" ({Vendor}, family {Family}, model {Model}, stepping {Stepping})");

    public static BenchMachine Here() => new(
        DateTime.UtcNow.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
        ["resnet-nodes " + string.Join(' ', Environment.GetCommandLineArgs()[1..])],
        RunConfig.ProcessorName() ?? RuntimeInformation.ProcessArchitecture.ToString(),
        RunConfig.ProcessorFact("vendor_id"),
        RunConfig.ProcessorFact("cpu family"),
        RunConfig.ProcessorFact("model"),
        RunConfig.ProcessorFact("stepping"),
        CachesOfACore(),
        Environment.ProcessorCount,
        torch.get_num_threads(),
        NativeRuntime.ActiveKernelPath,
        Math.Round(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (double)(1L << 30), 1),
        $"{RuntimeInformation.OSDescription}, kernel {Environment.OSVersion.Version}",
        RuntimeInformation.FrameworkDescription,
        typeof(torch).Assembly.GetName().Version!.ToString(3),
        torch.__version__,
        NativeRuntime.Version,
        CommitOfSources(),
        Checksum(),
        Steered());

    private static string Steered() => string.Join(
        ' ',
        Environment.GetEnvironmentVariables().Keys.Cast<string>()
            .Where(name => Steering.Any(s => name.StartsWith(s, StringComparison.Ordinal)))
            .Order(StringComparer.Ordinal).Select(name => $"{name}={Environment.GetEnvironmentVariable(name)}"));

    public static BenchMachine Read(RunFolder folder) => Read(folder.File(FileName));

    /// <summary>
    /// Notes this start before it measures; what was measured elsewhere, or by another build, is not continued.
    /// </summary>
    public static void Note(RunFolder folder)
    {
        var here = Here();
        var path = folder.File(FileName);
        if (File.Exists(path))
        {
            var before = Read(path);
            var differs = before.Identity().Zip(here.Identity()).FirstOrDefault(pair => pair.First.Value != pair.Second.Value);
            if (differs.First.What is { } what)
            {
                throw new ResNetNodesException(
                    $"{folder.Path}: was measured with {what} {differs.First.Value}, here it is {differs.Second.Value}: in one table they "
                    + "would not compare; take --overwrite or another --out");
            }

            here = before with { Commands = [.. before.Commands, .. here.Commands] };
        }

        folder.Write(FileName, SealedJson.Write(here));
    }

    private static BenchMachine Read(string path) =>
        SealedJson.Read<BenchMachine>(path, "it says what the points beside it were measured on: measure again with --overwrite");

    private (string What, string Value)[] Identity() =>
    [
        ("processor", Chip), ("cores", $"{Cores}"), ("threads", $"{Threads}"), ("kernel path", KernelPath), ("LibTorch", Libtorch),
        ("the build", Build), ("settings", Settings.Length > 0 ? Settings : "none"),
    ];

    // As L1d 48K, L2 1024K, L3 32768K: the kernel's description of those that the first core uses, instructions' left out.
    private static string? CachesOfACore()
    {
        const string description = "/sys/devices/system/cpu/cpu0/cache";
        if (!Directory.Exists(description))
        {
            return null;
        }

        static string Fact(string cache, string name) => File.ReadAllText(Path.Combine(cache, name)).Trim();
        var caches =
            from cache in Directory.EnumerateDirectories(description, "index*").Order(StringComparer.Ordinal)
            let kind = Fact(cache, "type")
            where kind != "Instruction"
            select $"L{Fact(cache, "level")}{(kind == "Data" ? "d" : string.Empty)} {Fact(cache, "size")}";
        return string.Join(", ", caches) is { Length: > 0 } text ? text : null;
    }

    private static string Checksum()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var file in new[] { "libresnet_nodes.so", "ResNetNodes.dll" })
        {
            hash.AppendData(File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, file)));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..12];
    }

    // The program lies in the tree that it was built from, or the sources are not known.
    private static string? CommitOfSources()
    {
        var commit = Git("rev-parse", "--short=12", "HEAD");
        var changed = commit is not null && Git("status", "--porcelain", "--untracked-files=no") is { Length: > 0 };
        return changed ? commit + " with changes" : commit;
    }

    private static string? Git(params string[] words)
    {
        try
        {
            var start = new ProcessStartInfo("git", words)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                WorkingDirectory = AppContext.BaseDirectory,
            };
            using var process = Process.Start(start)!;
            var output = process.StandardOutput.ReadToEnd().Trim();
            process.WaitForExit();
            return process.ExitCode == 0 ? output : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null; // there is no git here
        }
    }
}
