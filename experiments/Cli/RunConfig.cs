using System.Reflection;
using System.Text.Json;
using TorchSharp;

namespace ResNetNodes.Experiments.Cli;

/// <summary>An option that a resumed run may be given anew: it does not change what was computed before.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class MayChangeAttribute : Attribute;

/// <summary>What a run was started with, and where: config.json.</summary>
internal static class RunConfig
{
    public const string FileName = "config.json";

    /// <summary>Options of where a run goes and how it is shown: no part of what it computes.</summary>
    public static readonly IReadOnlyList<string> Presentation = ["config", "preset", "out", "page", "json", "overwrite", "resume", "quiet", "verbose", "no-color"];

    public static Dictionary<string, object?> Of(CommonOptions options, string verb) => new()
    {
        ["verb"] = verb,
        ["options"] = Values(options),
        ["version"] = NativeRuntime.Version,
        ["build"] = typeof(RunConfig).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion,
        ["libtorch"] = torch.__version__,
        ["kernel_path"] = NativeRuntime.ActiveKernelPath,
        ["threads"] = torch.get_num_threads(),
        ["processor"] = Processor(),
        ["system"] = System.Runtime.InteropServices.RuntimeInformation.OSDescription,
        ["command_line"] = Environment.GetCommandLineArgs()[1..],
    };

    /// <summary>A run is gone on with only as it was started: two settings in one result would be neither.</summary>
    public static void Check(string path, CommonOptions options, string verb)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllText(path));
            if (document.RootElement.GetProperty("verb").GetString() is var other && other != verb)
            {
                throw new UsageException($"{path}: is of the verb {other}, not of {verb}; take another --out");
            }

            var before = document.RootElement.GetProperty("options");
            var free = StrictArguments.OptionsOf(options.GetType()).Where(pair => pair.Property.IsDefined(typeof(MayChangeAttribute))).Select(pair => pair.Option.LongName);
            foreach (var (name, value) in Values(options).Where(pair => !Presentation.Contains(pair.Key)).ExceptBy(free, pair => pair.Key))
            {
                var then = before.TryGetProperty(name, out var element) ? element.GetString() : null;
                if (then != value)
                {
                    throw new UsageException($"--{name} is {value ?? "not given"}, but the run in {Path.GetDirectoryName(path)} was started with {then ?? "none"}; take that, --overwrite or another --out");
                }
            }
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new ResNetNodesException($"{path}: is no configuration of a run; take --overwrite or another --out", exception);
        }
    }

    private static Dictionary<string, string?> Values(CommonOptions options) => StrictArguments.OptionsOf(options.GetType()).ToDictionary(
        pair => pair.Option.LongName,
        pair => pair.Property.GetValue(options) switch { bool b => b ? "true" : "false", var other => other?.ToString() });

    public static string? Processor() => File.Exists("/proc/cpuinfo")
        ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[^1].Trim()
        : null;
}
