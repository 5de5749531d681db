using System.Globalization;
using System.Text;
using System.Text.Json;
using ResNetNodes.Training;
using TorchSharp;

namespace ResNetNodes.Experiments.Cli;

/// <summary>The folder of a run: config.json, tables, figures. Files appear whole.</summary>
internal sealed class RunFolder
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private RunFolder(string path) => Path = path;

    public string Path { get; }

    /// <summary>Makes the folder, or takes it up, and writes config.json.</summary>
    public static RunFolder Open(CommonOptions options)
    {
        var verb = StrictArguments.NameOf(options.GetType());
        var path = options.Out ?? Fresh(verb, CommonOptions.Is(options.Resume));
        if (CommonOptions.Is(options.Overwrite) && CommonOptions.Is(options.Resume))
        {
            throw new UsageException("--overwrite and --resume exclude each other");
        }

        try
        {
            var config = System.IO.Path.Combine(path, "config.json");
            if (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any())
            {
                if (CommonOptions.Is(options.Overwrite))
                {
                    // Only what a run made may be emptied: a mistyped folder must not cost anyone their data.
                    if (!FileExists(config))
                    {
                        throw new ResNetNodesException($"{path}: holds files but no config.json of a run; empty it yourself, or take another --out");
                    }

                    Directory.Delete(path, recursive: true);
                }
                else if (!CommonOptions.Is(options.Resume))
                {
                    throw new ResNetNodesException($"{path}: is not empty; take --resume, --overwrite, or another --out");
                }
            }

            Directory.CreateDirectory(path);
            var folder = new RunFolder(path);
            folder.WriteConfig(options, verb);
            return folder;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ResNetNodesException($"{path}: can't be used as the folder of a run: {exception.Message}", exception);
        }
    }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    private static bool FileExists(string path) => System.IO.File.Exists(path);

    /// <summary>Rows as CSV; columns are those of the first row.</summary>
    public void WriteCsv(string name, IReadOnlyList<IReadOnlyDictionary<string, object?>> rows)
    {
        if (rows.Count == 0)
        {
            return;
        }

        var columns = rows[0].Keys.ToList();
        var text = new StringBuilder().AppendJoin(',', columns).Append('\n');
        foreach (var row in rows)
        {
            text.AppendJoin(',', columns.Select(c => Cell(row.GetValueOrDefault(c)))).Append('\n');
        }

        WholeFile.Write(File(name), text.ToString());
    }

    private static string Cell(object? value) => value switch
    {
        null => string.Empty,
        double d => d.ToString("R", CultureInfo.InvariantCulture),
        string s when s.Contains(',') || s.Contains('"') => $"\"{s.Replace("\"", "\"\"", StringComparison.Ordinal)}\"",
        IFormattable f => f.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? string.Empty,
    };

    private static string Fresh(string verb, bool resume)
    {
        var name = System.IO.Path.Combine("runs", verb);
        for (var i = 2; !resume && Directory.Exists(name); i++)
        {
            name = System.IO.Path.Combine("runs", $"{verb}-{i}");
        }

        return name;
    }

    private void WriteConfig(CommonOptions options, string verb)
    {
        var values = StrictArguments.OptionsOf(options.GetType()).ToDictionary(
            pair => pair.Option.LongName,
            pair => pair.Property.GetValue(options) switch { bool b => b ? "true" : "false", var other => other?.ToString() });
        var config = new Dictionary<string, object?>
        {
            ["verb"] = verb,
            ["options"] = values,
            ["version"] = NativeRuntime.Version,
            ["libtorch"] = torch.__version__,
            ["kernel_path"] = NativeRuntime.ActiveKernelPath,
            ["threads"] = torch.get_num_threads(),
            ["processor"] = Processor(),
            ["command_line"] = Environment.GetCommandLineArgs()[1..],
        };
        WholeFile.Write(File("config.json"), JsonSerializer.Serialize(config, Indented) + "\n");
    }

    private static string? Processor() => FileExists("/proc/cpuinfo")
        ? System.IO.File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[^1].Trim()
        : null;
}
