using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;
using ResNetNodes.Experiments.Cli;
using ResNetNodes.Experiments.Cli.Options;
using ResNetNodes.Experiments.Cli.Parsing;
using TorchSharp;

namespace ResNetNodes.Experiments.Runs;

/// <summary>What a run was started with, and where: config.json.</summary>
internal sealed record RunConfig(
    string Verb,
    IReadOnlyDictionary<string, string?> Options,
    string Version,
    string? Build,
    string Libtorch,
    string KernelPath,
    int Threads,
    string? Processor,
    string System,
    IReadOnlyList<string> CommandLine)
{
    public const string FileName = "config.json";

    /// <summary>How the networks of a run with --memory go through their first training steps; null without.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<StartPlan>? MemoryPlan { get; init; }

    public static RunConfig Of(Verb verb) => new(
        verb.Name,
        verb.Options.ToDictionary(option => option.Name, option => option.Text),
        NativeRuntime.Version,
        typeof(RunConfig).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion,
        torch.__version__,
        NativeRuntime.ActiveKernelPath,
        torch.get_num_threads(),
        ProcessorName(),
        global::System.Runtime.InteropServices.RuntimeInformation.OSDescription,
        Environment.GetCommandLineArgs()[1..])
    {
        MemoryPlan = verb.Group<MemoryGroup>()?.Plans is { Count: > 0 } plans ? plans : null,
    };

    /// <summary>Reads the configuration of a run that is there.</summary>
    /// <param name="folder">Its folder.</param>
    /// <param name="remedy">What to do if it is damaged.</param>
    public static RunConfig Read(string folder, string remedy) => SealedJson.Read<RunConfig>(Path.Combine(folder, FileName), remedy);

    /// <summary>A run continues only as it was started: two settings in one result would be neither.</summary>
    public static void Check(string folder, Verb verb)
    {
        if (!File.Exists(Path.Combine(folder, FileName)))
        {
            // Checkpoints and points know what they were made with.
            return;
        }

        var before = Read(folder, "take --overwrite or another --out");
        if (before.Verb != verb.Name)
        {
            throw new UsageException($"{folder}: belongs to a run of {before.Verb}, not of {verb.Name}; take another --out");
        }

        foreach (var option in Fixed(verb))
        {
            var then = before.Options.GetValueOrDefault(option.Name);
            if (then != option.Text)
            {
                throw new UsageException(
                    $"--{option.Name} is {option.Text ?? "not given"}, but the run in {folder} was started with "
                    + $"{then ?? "none"}; take that, --overwrite or another --out");
            }
        }
    }

    /// <summary>Stands for the options that a resumed run may not be given anew.</summary>
    public static string Digest(Verb verb) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(
        verb.Name + string.Concat(Fixed(verb).Select(option => $"\n{option.Name}={option.Text}")))));

    public static string? ProcessorName() => ProcessorFact("model name");

    /// <summary>What the kernel says of the first core under a name; null where it does not.</summary>
    public static string? ProcessorFact(string name)
    {
        const string description = "/proc/cpuinfo";
        var lines = File.Exists(description) ? File.ReadLines(description) : [];
        return lines.Select(line => line.Split(':', 2)).FirstOrDefault(pair => pair[0].Trim() == name)?[^1].Trim();
    }

    /// <summary>The options that a run keeps from its start to its end.</summary>
    public static IEnumerable<VerbOption> Fixed(Verb verb) => verb.Options.Where(option => !option.IsPresentation && !option.MayChange);
}
