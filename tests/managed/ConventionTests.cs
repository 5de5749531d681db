using System.Diagnostics;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>Rules of this repository that no compiler checks.</summary>
public sealed partial class ConventionTests
{
    public static string Root { get; } = typeof(ConventionTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(a => a.Key == "RepositoryRoot").Value!;

    /// <summary>
    /// The folders of managed/, lowest first: the namespace of each, and the folders whose types it names. Arrows go to folders that
    /// stand above in this list alone, so that there is no circle; a folder's own types need no arrow.
    /// </summary>
    private static readonly (string Folder, string Namespace, string[] Names)[] Layers =
    [
        ("Basics", "ResNetNodes", []),
        ("Stages/Values", "ResNetNodes", ["Basics"]),
        ("Stages/Callbacks", "ResNetNodes.Stages.Callbacks", ["Basics"]),
        ("Stages/Modules", "ResNetNodes", []),
        ("Stages/Engine", "ResNetNodes.Stages.Engine", ["Basics", "Stages/Values", "Stages/Callbacks", "Stages/Modules"]),
        ("Stages", "ResNetNodes", ["Basics", "Stages/Values", "Stages/Callbacks", "Stages/Engine"]),
        ("Distributed", "ResNetNodes.Distributed", ["Basics", "Stages/Callbacks", "Stages"]),
        ("Planning", "ResNetNodes.Planning", ["Basics", "Stages/Values", "Stages/Engine", "Stages"]),
        ("Data/Sets", "ResNetNodes.Data", ["Basics"]),
        ("Data/Transforms", "ResNetNodes.Data", ["Basics", "Data/Sets"]),
        ("Data/Loading", "ResNetNodes.Data", ["Basics", "Data/Sets", "Data/Transforms"]),
        ("Networks", "ResNetNodes.Networks", ["Basics", "Stages/Values", "Stages/Modules", "Stages", "Planning", "Data/Transforms"]),
        ("Measuring", "ResNetNodes.Measuring", ["Basics"]),
        ("Training", "ResNetNodes.Training", ["Basics", "Stages/Values", "Stages", "Distributed", "Networks", "Data/Loading", "Measuring"]),
        ("Weights", "ResNetNodes.Weights", ["Basics", "Networks", "Training"]),
    ];

    [Fact]
    public void Folders_NameThoseBelowThemAlone()
    {
        Assert.Equal(
            Layers.Select(layer => layer.Folder).Order(StringComparer.Ordinal),
            Sources.ByFolder.Select(group => group.Key).Order(StringComparer.Ordinal));
        var folderOf = Layers.SelectMany(
            layer => Sources.ByFolder[layer.Folder].SelectMany(Sources.TypesOf).Select(type => (type, layer.Folder))).ToDictionary();
        for (var i = 0; i < Layers.Length; i++)
        {
            var layer = Layers[i];
            Assert.Subset(Layers[..i].Select(below => below.Folder).ToHashSet(), layer.Names.ToHashSet());
            var arrows = from file in Sources.ByFolder[layer.Folder]
                         from word in Sources.WordsOf(file)
                         where folderOf.ContainsKey(word) && folderOf[word] != layer.Folder
                         select (Target: folderOf[word], Where: $"{Path.GetRelativePath(Sources.Managed, file)} names {word}");
            Assert.All(arrows, arrow => Assert.True(layer.Names.Contains(arrow.Target), $"{arrow.Where} of {arrow.Target}"));
            // An arrow that nothing uses would let one in unseen.
            Assert.Equal(
                layer.Names.Order(StringComparer.Ordinal),
                arrows.Select(arrow => arrow.Target).Distinct().Order(StringComparer.Ordinal));
        }
    }

    [Fact]
    public void Namespaces_AreThoseOfTheFolders() =>
        Assert.All(
            Layers,
            layer => Assert.All(Sources.ByFolder[layer.Folder], file => Assert.Equal(layer.Namespace, Sources.NamespaceOf(file))));

    [Fact]
    public void Libraries_AreNamedWhereTheyBelong()
    {
        Nowhere("managed", "*.cs", "Spectre|ScottPlot|CommandLine");
        // Basics: random numbers alone, which are redirected natively.
        Assert.Equal(
            ["RandomNumbers.cs"],
            Files("managed/Basics", "*.cs").Where(f => Regex.IsMatch(File.ReadAllText(f), @"Interop\b")).Select(f => Path.GetFileName(f)));
        foreach (var layer in Layers.Where(layer =>
            layer.Folder is not ("Basics" or "Distributed") && !layer.Folder.StartsWith("Stages", StringComparison.Ordinal)))
        {
            Nowhere($"managed/{layer.Folder}", "*.cs", @"Interop\b");
        }

        Nowhere("native/src/kernels", "*.*", "torch/");
    }

    [Fact]
    public void RandomNumbers_ComeFromOneType() =>
        Assert.Equal(
            ["RandomNumbers.cs"],
            Files("managed", "*.cs").Where(f => Regex.IsMatch(File.ReadAllText(f), @"\bnew Random\(|manual_seed|rng_state"))
                .Select(f => Path.GetFileName(f)));

    /// <summary>
    /// A public type has a test file of its name. One that only holds values, an enum or a record without methods of its own, may stand
    /// in the test file of a public type that takes or gives it instead, and is named there.
    /// </summary>
    [Fact]
    public void PublicTypes_HaveTests()
    {
        var tests = Files("tests/managed", "*Tests.cs").ToDictionary(f => Path.GetFileNameWithoutExtension(f), File.ReadAllText);
        Assert.All(typeof(ResidualStage).Assembly.GetExportedTypes(), type => Assert.True(
            tests.ContainsKey($"{type.Name}Tests") || Users(type).Any(
                user => tests.TryGetValue($"{user.Name}Tests", out var text) && Regex.IsMatch(text, $@"\b{type.Name}\b")),
            $"{type.Name} has no tests/managed/{type.Name}Tests.cs, and is named in none of "
            + string.Join(", ", Users(type).Select(user => $"{user.Name}Tests"))));
    }

    [Fact]
    public void Dispatcher_IsCalledInOnePlace() =>
        Assert.Equal(
            ["dispatcher.h"],
            Files("native/src", "*.*").Where(f => File.ReadAllText(f).Contains("torch_call_dispatcher(", StringComparison.Ordinal))
                .Select(f => Path.GetFileName(f)));

    [Fact]
    public void Headers_OfAnUnstableAbiAreNotIncluded() => Nowhere("native", "*.*", @"#include <(torch/torch\.h|ATen/|c10/)");

    [Fact]
    public void Files_StayShort()
    {
        string[] folders = ["native", "interop", "managed", "experiments", "tests"];
        Assert.All(
            folders.SelectMany(folder => Files(folder, "*.*")).Where(
                f => f.EndsWith(".cs", StringComparison.Ordinal) || f.EndsWith(".cpp", StringComparison.Ordinal)
                    || f.EndsWith(".h", StringComparison.Ordinal)),
            f => Assert.InRange(File.ReadLines(f).Count(), 0, 400));
    }

    [Fact]
    public void Library_NeedsStableSymbolsAlone()
    {
        var library = Path.Combine(AppContext.BaseDirectory, "libresnet_nodes.so");
        using var nm = Process.Start(new ProcessStartInfo("nm", ["-D", "--undefined-only", library]) { RedirectStandardOutput = true })!;
        var symbols = nm.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(l => l.Trim().Split(' ')[^1]).ToList();
        Assert.NotEmpty(symbols);
        // LibTorch's own C++ symbols are mangled with its namespaces.
        Assert.DoesNotContain(symbols, s => UnstableSymbol().IsMatch(s));
    }

    // What the compiler adds to enums, records and properties says nothing more, and an override keeps what its base has promised.
    private static IEnumerable<MemberInfo> Written(Type type) =>
        type.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly).Where(m =>
            m is not MethodBase { IsSpecialName: true, IsConstructor: false } and not FieldInfo { IsSpecialName: true }
            && m.GetCustomAttribute<CompilerGeneratedAttribute>() is null
            && !(m is MethodInfo method && method.GetBaseDefinition().DeclaringType != type)
            && m.Name is not ("Equals" or "GetHashCode" or "Deconstruct"));

    private static bool HoldsValuesAlone(Type type) =>
        type.IsEnum || ((type.IsValueType || type.GetMethod("<Clone>$") is not null) && !Written(type).Any(m => m is MethodInfo));

    // The public types that take or give one that only holds values, through others of the kind too.
    private static IEnumerable<Type> Users(Type type) => HoldsValuesAlone(type)
        ? typeof(ResidualStage).Assembly.GetExportedTypes()
            .Where(user => user != type && Written(user).Any(m => m.ToString()!.Contains(type.FullName!, StringComparison.Ordinal)))
            .SelectMany(user => Users(user).Append(user))
        : [];

    [GeneratedRegex("_ZN[KV]*(2at|3c10|5torch)")]
    private static partial Regex UnstableSymbol();

    private static IEnumerable<string> Files(string folder, string pattern) =>
        Directory.EnumerateFiles(Path.Combine(Root, folder), pattern, SearchOption.AllDirectories);

    private static void Nowhere(string folder, string pattern, string expression) =>
        Assert.All(Files(folder, pattern), f => Assert.False(Regex.IsMatch(File.ReadAllText(f), expression), $"{f}: {expression}"));
}
