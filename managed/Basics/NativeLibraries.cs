using System.Reflection;
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
            var causes = string.Join(' ', Causes(exception).Select(cause => cause.Message));
            throw new ResNetNodesException(
                causes.Contains("GLIBCXX", StringComparison.Ordinal)
                    ? "LibTorch can't be loaded: it needs the C++ run time of GCC 13.2 or later (GLIBCXX_3.4.32); install a newer libstdc++6"
                    : "LibTorch can't be loaded; where it is missing, add the package of a backend: "
                        + $"dotnet add package TorchSharp-cpu --version {TorchSharpVersion} ({OneLine.Of(causes)})",
                exception);
        }
    }

    private static IntPtr LoadEngine()
    {
        var assembly = typeof(NativeLibraries).Assembly;
        if (NativeLibrary.TryLoad(Engine, assembly, null, out var found))
        {
            return found;
        }

        // A package's layout, as notebooks use it: the assembly in lib/FRAMEWORK, native libraries in runtimes.
        var beside = AppContext.BaseDirectory;
        string?[] folders = [beside, Path.Combine(beside, Folder), .. InPackage(assembly)];
        var file = folders.Select(folder => Path.Combine(folder!, $"lib{Engine}.so")).FirstOrDefault(File.Exists)
            ?? throw new ResNetNodesException(
                $"lib{Engine}.so is missing: it belongs beside the application ({beside}) or in its {Folder}; publish again, or restore "
                + "the package ResNetNodes anew");
        try
        {
            return NativeLibrary.Load(file);
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException)
        {
            throw new ResNetNodesException(
                $"{file}: can't be loaded: {OneLine.Of(exception.Message)}; it needs LibTorch 2.10 or later, as TorchSharp {TorchSharpVersion} "
                + "has it",
                exception);
        }
    }

    // Of one file, an assembly has no place.
    private static IEnumerable<string> InPackage(Assembly assembly)
    {
#pragma warning disable IL3000
        var place = assembly.Location;
#pragma warning restore IL3000
        return place.Length == 0 ? [] : [Path.Combine(Path.GetDirectoryName(place)!, "../..", Folder)];
    }

    private static IEnumerable<Exception> Causes(Exception? exception)
    {
        for (; exception is not null; exception = exception.InnerException)
        {
            yield return exception;
        }
    }
}
