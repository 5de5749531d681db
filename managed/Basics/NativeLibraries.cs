using System.Runtime.InteropServices;
using TorchSharp;

namespace ResNetNodes;

/// <summary>
/// Loads LibTorch, then the native engine, which needs it. What is missing is said once, with the line that adds it, before any call
/// enters native code.
/// </summary>
internal static class NativeLibraries
{
    private const string Engine = "resnet_nodes", Folder = "runtimes/linux-x64/native";

    private static readonly Lazy<IntPtr> Loaded = new(Load);

    private static string TorchSharpVersion => typeof(torch).Assembly.GetName().Version!.ToString(3);

    /// <summary>Loads them, if they are not yet.</summary>
    /// <exception cref="ResNetNodesException">One is missing, or can't run here; the message says how to get it.</exception>
    public static void Require() => _ = Loaded.Value;

    /// <summary>Where a library lies that is loaded on demand; null where it is missing.</summary>
    /// <param name="name">Without lib and .so.</param>
    public static string? PathOf(string name) => Find($"lib{name}.so");

    private static IntPtr Load()
    {
        RequirePlatform();
        RequireTorch();
        var engine = LoadEngine();
        // Where the engine lies beside neither the application nor this assembly, the run time would not find it by its name.
        NativeLibrary.SetDllImportResolver(
            typeof(NativeLibraries).Assembly, (name, _, _) => name == Engine ? engine : IntPtr.Zero);
        return engine;
    }

    private static void RequirePlatform()
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64)
        {
            throw new ResNetNodesException(
                $"the native engine runs on Linux on x86-64, and this is {RuntimeInformation.RuntimeIdentifier}; "
                + "use a machine or container of that kind");
        }
    }

    private static void RequireTorch()
    {
        try
        {
            torch.InitializeDeviceType(DeviceType.CPU);
        }
        catch (Exception exception)
        {
            // TorchSharp tells of a reference that is missing, whatever the loader has said.
            throw new ResNetNodesException(
                Find("libLibTorchSharp.so") is { } torchSharp
                    && ErrorOf(torchSharp, out _)?.Contains("GLIBCXX", StringComparison.Ordinal) == true
                    ? "LibTorch can't be loaded: it needs the C++ run time of GCC 13.2 or later (GLIBCXX_3.4.32); install a newer "
                        + "libstdc++6"
                    : "LibTorch can't be loaded; where it is missing, add the package of a backend: "
                        + $"dotnet add package TorchSharp-cpu --version {TorchSharpVersion} ({Lines(exception.GetBaseException())[0]})",
                exception);
        }
    }

    private static IntPtr LoadEngine()
    {
        if (NativeLibrary.TryLoad(Engine, typeof(NativeLibraries).Assembly, null, out var engine))
        {
            return engine;
        }

        var file = Find($"lib{Engine}.so") ?? throw new ResNetNodesException(
            $"lib{Engine}.so is missing: it belongs beside the application ({AppContext.BaseDirectory}) or in its {Folder}; publish "
            + "again, or restore the package ResNetNodes anew");
        return ErrorOf(file, out engine) is { } error
            ? throw new ResNetNodesException(
                $"{file}: can't be loaded: {error}; it needs LibTorch 2.10 or later, as TorchSharp {TorchSharpVersion} has it")
            : engine;
    }

    // What the loader has against a file; null where it is loaded.
    private static string? ErrorOf(string file, out IntPtr handle)
    {
        handle = IntPtr.Zero;
        try
        {
            handle = NativeLibrary.Load(file);
            return null;
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException)
        {
            // After advice of the run time: what the loader says.
            return Lines(exception)[^1];
        }
    }

    // Beside the application, or in a package's layout, as notebooks use it: the assembly in lib/FRAMEWORK, native libraries in runtimes.
    private static string? Find(string file)
    {
#pragma warning disable IL3000 // Of one file, an assembly has no place.
        var assembly = typeof(NativeLibraries).Assembly.Location;
#pragma warning restore IL3000
        List<string> folders = [AppContext.BaseDirectory, Path.Combine(AppContext.BaseDirectory, Folder)];
        if (assembly.Length > 0)
        {
            folders.Add(Path.Combine(Path.GetDirectoryName(assembly)!, "../..", Folder));
        }

        return folders.Select(folder => Path.Combine(folder, file)).FirstOrDefault(File.Exists);
    }

    private static List<string> Lines(Exception exception) =>
    [
        .. exception.Message.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.TrimEnd('.')),
    ];
}
