using System.Text.RegularExpressions;
using Xunit;

namespace ResNetNodes.Tests;

/// <summary>What the native engine's folders may include: those that stand below them. docs/architecture.md has the same list.</summary>
public sealed partial class NativeLayeringTests
{
    /// <summary>From the top down. A folder inside of another has a place of its own.</summary>
    private static readonly string[] Layers =
    [
        "stage", "walk", "walk/predictors", "walk/adaptive", "walk/states", "walk/solver", "functions", "fused", "layers", "ranks",
        "tensors", "device", "host",
        "kernels/paths", "kernels/conv", "kernels/mlp", "kernels/steps", "kernels/cuda", "kernels",
    ];

    private static string Root => Path.Combine(ConventionTests.Root, "native/src");

    [Fact]
    public void Includes_GoDownwardsOnly()
    {
        foreach (var (file, included) in Includes())
        {
            var (from, to) = (Place(file), Place(included));
            Assert.True(to >= from, $"{file} includes {included}, which stands above it");
        }
    }

    /// <summary>A header and its source are one module; an include circle between modules would be two that are one.</summary>
    [Fact]
    public void Modules_HaveNoCircles()
    {
        var below = Includes().GroupBy(i => Module(i.File), i => Module(i.Included))
            .ToDictionary(g => g.Key, g => g.Where(m => m != g.Key).ToHashSet());
        var done = new HashSet<string>();
        var path = new List<string>();
        foreach (var module in below.Keys.Order(StringComparer.Ordinal))
        {
            Visit(module);
        }

        void Visit(string module)
        {
            Assert.False(path.Contains(module), $"a circle of includes: {string.Join(" -> ", path.Append(module))}");
            if (!done.Contains(module))
            {
                path.Add(module);
                foreach (var next in below.GetValueOrDefault(module, []))
                {
                    Visit(next);
                }

                path.RemoveAt(path.Count - 1);
                done.Add(module);
            }
        }
    }

    private static IEnumerable<(string File, string Included)> Includes()
    {
        var sources = Directory.EnumerateFiles(Root, "*.*", SearchOption.AllDirectories).Where(f => SourceName().IsMatch(f)).ToList();
        Assert.NotEmpty(sources);
        return sources.SelectMany(source => IncludeLine().Matches(File.ReadAllText(source)).Select(m => m.Groups[1].Value)
            .Where(included => !included.StartsWith("resnet_nodes/", StringComparison.Ordinal))
            .Select(included => (Path.GetRelativePath(Root, source), included)));
    }

    private static int Place(string file)
    {
        var folder = Path.GetDirectoryName(file)!;
        var place = Array.IndexOf(Layers, folder);
        Assert.True(place >= 0, $"{file}: its folder has no place in the list of layers");
        return place;
    }

    private static string Module(string file) => Path.ChangeExtension(file, null);

    [GeneratedRegex(@"\.(h|cpp|inl|cu|cuh)$")]
    private static partial Regex SourceName();

    [GeneratedRegex("""^#include "([^"]+)"$""", RegexOptions.Multiline)]
    private static partial Regex IncludeLine();
}
