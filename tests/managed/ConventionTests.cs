using System.Diagnostics;
using System.Reflection;
using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>Rules of this repository that no compiler checks.</summary>
public sealed partial class ConventionTests
{
    public static string Root { get; } = typeof(ConventionTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;

    [Fact]
    public void References_GoDownwardsOnly()
    {
        Nowhere("managed", "*.cs", "Spectre|ScottPlot|CommandLine");
        Nowhere("managed/Data", "*.cs", @"Interop\.");
        Nowhere("managed/Training", "*.cs", @"Interop\.");
        Nowhere("native/src/kernels", "*.*", "torch/");
    }

    [Fact]
    public void Dispatcher_IsCalledInOnePlace() =>
        Assert.Equal(["dispatcher.h"], Files("native/src", "*.*").Where(f => File.ReadAllText(f).Contains("torch_call_dispatcher(", StringComparison.Ordinal)).Select(f => Path.GetFileName(f)));

    [Fact]
    public void Headers_OfAnUnstableAbiAreNotIncluded() => Nowhere("native", "*.*", @"#include <(torch/torch\.h|ATen/|c10/)");

    [Fact]
    public void Files_StayShort()
    {
        string[] folders = ["native", "interop", "managed", "experiments", "tests"];
        Assert.All(folders.SelectMany(folder => Files(folder, "*.*")).Where(f => f.EndsWith(".cs", StringComparison.Ordinal) || f.EndsWith(".cpp", StringComparison.Ordinal) || f.EndsWith(".h", StringComparison.Ordinal)), f => Assert.InRange(File.ReadLines(f).Count(), 0, 400));
    }

    [Fact]
    public void Library_NeedsStableSymbolsAlone()
    {
        var library = Path.Combine(AppContext.BaseDirectory, "libresnet_nodes.so");
        using var nm = Process.Start(new ProcessStartInfo("nm", ["-D", "--undefined-only", library]) { RedirectStandardOutput = true })!;
        var symbols = nm.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Trim().Split(' ')[^1]).ToList();
        Assert.NotEmpty(symbols);
        // LibTorch's own C++ symbols are mangled with its namespaces.
        Assert.DoesNotContain(symbols, s => UnstableSymbol().IsMatch(s));
    }

    [Fact]
    public void PublicApi_IsTheApprovedOne()
    {
        var members = typeof(ResidualStage).Assembly.GetExportedTypes().Concat([typeof(ResNetNodesException)]).OrderBy(t => t.FullName, StringComparer.Ordinal)
            .SelectMany(type => type.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
                .Where(m => m is not MethodInfo { IsSpecialName: true } && !m.Name.Contains('<', StringComparison.Ordinal) && m.Name is not ("Equals" or "GetHashCode" or "Deconstruct"))
                .Select(m => $"{type.FullName}: {m}").Order(StringComparer.Ordinal).Prepend(type.FullName!));
        var found = string.Join('\n', members) + "\n";
        var file = Path.Combine(Root, "tests/managed/PublicApi.txt");
        var approved = File.Exists(file) ? File.ReadAllText(file) : string.Empty;
        if (found != approved)
        {
            File.WriteAllText(Path.Combine(AppContext.BaseDirectory, "PublicApi.received.txt"), found);
        }

        Assert.True(found == approved, $"the public API differs from tests/managed/PublicApi.txt; if it should, copy {AppContext.BaseDirectory}PublicApi.received.txt over it and add a line to CHANGELOG.md");
    }

    [GeneratedRegex("_ZN[KV]*(2at|3c10|5torch)")]
    private static partial Regex UnstableSymbol();

    private static IEnumerable<string> Files(string folder, string pattern) => Directory.EnumerateFiles(Path.Combine(Root, folder), pattern, SearchOption.AllDirectories);

    private static void Nowhere(string folder, string pattern, string expression) =>
        Assert.All(Files(folder, pattern), f => Assert.False(Regex.IsMatch(File.ReadAllText(f), expression), $"{f}: {expression}"));
}
