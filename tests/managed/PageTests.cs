using System.Text.Json;
using System.Text.RegularExpressions;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ResNetNodes.Tests;

/// <summary>The programs on the documentation's pages: compiled, run, and what they print compared with what the page says.</summary>
public sealed partial class PageTests
{
    private const string Fit = "docs/tutorials/train-what-does-not-fit";

    [Fact]
    public void Readme_Runs() => Assert.Contains("states are off by at most", Assert.Single(PageCode.Run("README.md")));

    /// <summary>The page of the package on a gallery.</summary>
    [Fact]
    public void PackagePage_HasTheExampleOfTheReadme()
    {
        var (page, readme) = ("managed/README.md", "README.md");
        Assert.Equal(PageCode.Cells(readme).Single(cell => cell.IsCode).Text, PageCode.Cells(page).Single(cell => cell.IsCode).Text);
        // A gallery shows no pictures of the repository, and follows no path into it.
        Assert.DoesNotMatch(@"\]\((?!https://)", File.ReadAllText(Path.Combine(ConventionTests.Root, page)));
    }

    [Fact]
    public void TrainWhatDoesNotFit_PrintsWhatThePageSays()
    {
        var printed = RunAsPrinted($"{Fit}.md");
        var memory = PageCode.Numbers(printed[1]);
        // 64 tapes against one, and a few states.
        Assert.InRange(memory[1], 0, memory[0] / 4);
        Assert.InRange(memory[2], 0, 1e-3);
        var (planned, measured) = (PageCode.Numbers(printed[2])[^2], PageCode.Numbers(printed[2])[^1]);
        Assert.InRange(planned, 0, 8);
        // glibc keeps some of what is freed.
        Assert.InRange(measured, 0, 1.25 * 8);
        var losses = PageCode.Numbers(printed[4]).Chunk(3).Select(epoch => epoch[1]).ToList();
        Assert.True(losses[^1] < losses[0]);
    }

    [Fact]
    public void PyTorch_PrintsWhatThePageSays()
    {
        var printed = string.Concat(RunAsPrinted("docs/pytorch.md"));
        Assert.DoesNotContain("False", printed);
    }

    /// <summary>The scores are those of a plain loop over the file's tensors; what is saved has its names and shapes.</summary>
    [Fact]
    public void MoveAPyTorchModel_ComputesWhatTheModelDid()
    {
        using var scope = NewDisposeScope();
        var model = new TorchModel(12, 16);
        IReadOnlyList<string> saved = [];
        var printed = RunAsPrinted(
            "docs/tutorials/move-a-pytorch-model.md",
            folder => File.WriteAllBytes(Path.Combine(folder, "model.safetensors"), model.Safetensors()),
            folder => saved = TorchModel.EntriesOf(File.ReadAllBytes(Path.Combine(folder, "fine-tuned.safetensors"))));
        var expected = model.Scores(linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8));
        // As printed, to four digits, and float32's rounding through 12 blocks.
        Assert.All(
            PageCode.Numbers(printed[1]).Index(),
            score => Assert.Equal(expected[0, score.Index].item<float>(), score.Item, 2e-4));
        Assert.Equal(3, PageCode.Numbers(printed[1]).Count);
        Assert.Equal(TorchModel.EntriesOf(model.Safetensors()), saved);
    }

    /// <summary>Prose and code are the page's; in front of them, what a notebook needs besides.</summary>
    [Fact]
    public void Notebook_IsThePage()
    {
        var packages = File.ReadAllText(Path.Combine(ConventionTests.Root, "Directory.Packages.props"));
        var beginning = $"""
            #r "nuget: TorchSharp-cpu, {TorchSharpVersion().Match(packages).Groups[1].Value}"
            #r "nuget: ResNetNodes, {File.ReadAllText(Path.Combine(ConventionTests.Root, "VERSION")).Trim()}"
            TorchSharp.torch.InitializeDeviceType(TorchSharp.DeviceType.CPU);
            """;
        var cells = PageCode.Cells($"{Fit}.md").Prepend((IsCode: true, Text: beginning)).ToList();
        RequireSame($"{Fit}.ipynb", Notebook(cells));
        var code = string.Join('\n', cells.Where(cell => cell.IsCode).Skip(1).Select(cell => cell.Text));
        Assert.Empty(PageCode.ErrorsOfScript(code));
    }

    // Version 4 of the format.
    private static string Notebook(IEnumerable<(bool IsCode, string Text)> cells)
    {
        var options = new JsonSerializerOptions { WriteIndented = true, IndentSize = 1, Encoder = JavaScript };
        return JsonSerializer.Serialize(
            new
            {
                cells = cells.Select((cell, place) => cell.IsCode
                    ? (object)new
                    {
                        cell_type = "code",
                        id = $"cell-{place}",
                        execution_count = (int?)null,
                        metadata = new { },
                        outputs = Array.Empty<object>(),
                        source = Lines(cell.Text),
                    }
                    : new { cell_type = "markdown", id = $"cell-{place}", metadata = new { }, source = Lines(cell.Text) }),
                metadata = new
                {
                    kernelspec = new { display_name = ".NET (C#)", language = "C#", name = ".net-csharp" },
                    language_info = new { name = "csharp" },
                },
                nbformat = 4,
                nbformat_minor = 5,
            },
            options) + "\n";
    }

    private static readonly System.Text.Encodings.Web.JavaScriptEncoder JavaScript =
        System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    private static IEnumerable<string> Lines(string text)
    {
        var lines = text.Split('\n');
        return lines.Select((line, place) => place < lines.Length - 1 ? line + "\n" : line);
    }

    /// <summary>Runs a page; what its blocks print is what stands below them, numbers aside.</summary>
    private static IReadOnlyList<string> RunAsPrinted(string page, Action<string>? prepare = null, Action<string>? inspect = null)
    {
        var printed = PageCode.Run(page, prepare, inspect);
        RequireSame(page, PageCode.WithOutput(page, printed), Comparable);
        return printed;
    }

    // Which method is the fastest that fits differs from processor to processor.
    private static string Comparable(string text) => PageCode.WithoutNumbers(PlannedPart().Replace(text, "$1"));

    [GeneratedRegex("^(stem|stage|head): .*$", RegexOptions.Multiline)]
    private static partial Regex PlannedPart();

    [GeneratedRegex("Include=\"TorchSharp-cpu\" Version=\"([^\"]+)\"")]
    private static partial Regex TorchSharpVersion();

    private static void RequireSame(string path, string expected, Func<string, string>? comparable = null)
    {
        var file = Path.Combine(ConventionTests.Root, path);
        var found = File.Exists(file) ? File.ReadAllText(file) : string.Empty;
        comparable ??= text => text;
        if (comparable(expected) != comparable(found))
        {
            var received = Path.Combine(AppContext.BaseDirectory, Path.GetFileName(path));
            File.WriteAllText(received, expected);
            Assert.Fail($"{path} is not what its code says and prints; {received} is");
        }
    }
}
