using System.Reflection;
using System.Text.Json;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Parsing;
using TorchSharp;

namespace ResNetNodes.Experiments.Runs;

/// <summary>What a run was started with, and where: config.json.</summary>
internal static class RunConfig
{
    public const string FileName = "config.json";

    public static Dictionary<string, object?> Of(Verb verb) => new()
    {
        ["verb"] = verb.Name,
        ["options"] = verb.Options.ToDictionary(option => option.Name, option => option.Text),
        ["version"] = NativeRuntime.Version,
        ["build"] = typeof(RunConfig).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion,
        ["libtorch"] = torch.__version__,
        ["kernel_path"] = NativeRuntime.ActiveKernelPath,
        ["threads"] = torch.get_num_threads(),
        ["processor"] = Processor(),
        ["system"] = System.Runtime.InteropServices.RuntimeInformation.OSDescription,
        ["command_line"] = Environment.GetCommandLineArgs()[1..],
    };

    /// <summary>A run continues only as it was started: two settings in one result would be neither.</summary>
    public static void Check(string path, Verb verb)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllText(path));
            if (document.RootElement.GetProperty("verb").GetString() is var other && other != verb.Name)
            {
                throw new UsageException(
                    $"{path}: belongs to a run of {other}, not of {verb.Name}; take another --out");
            }

            var before = document.RootElement.GetProperty("options");
            foreach (var option in verb.Options.Where(option => !option.IsPresentation && !option.MayChange))
            {
                var then = before.TryGetProperty(option.Name, out var element) ? element.GetString() : null;
                if (then != option.Text)
                {
                    throw new UsageException(
                        $"--{option.Name} is {option.Text ?? "not given"}, but the run in {Path.GetDirectoryName(path)} was started with "
                        + $"{then ?? "none"}; take that, --overwrite or another --out");
                }
            }
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new ResNetNodesException($"{path}: is not the configuration of a run; take --overwrite or another --out", exception);
        }
    }

    public static string? Processor()
    {
        const string description = "/proc/cpuinfo";
        var lines = File.Exists(description) ? File.ReadLines(description) : [];
        return lines.FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[^1].Trim();
    }
}
